"""A command that writes into its event stream what nobody expects, or puts something in its place.

python hostile.py KIND LEDGER
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

MEGABYTE = 2**20
Place = Path


def torn(place: Place) -> None:
    """Lines that come in pieces, some of which never get their end."""
    line = b'{"event": "metric", "name": "loss", "step": 1, "value": 0.5}\n'
    for cut in range(1, len(line), 7):
        for piece in (line[:cut], b"" if cut % 2 else line[cut:]):
            with place.open("ab") as stream:
                stream.write(piece)
            time.sleep(0.01)
    append(place, b"\n")


def long_line(place: Place) -> None:
    append(place, b'{"event": "note", "text": "' + b"x" * 100 * MEGABYTE + b'"}\n')


def long_line_without_end(place: Place) -> None:
    append(place, b"x" * 20 * MEGABYTE)


def nul(place: Place) -> None:
    append(place, b"\0" * MEGABYTE + b'\n{"event": "note", "text": "a\\u0000b"}\n')


def not_utf8(place: Place) -> None:
    append(place, b'{"event": "note", "text": "\xff\xfe\xc0\x80\xed\xa0\x80"}\n' * 1000)
    append(place, os.urandom(MEGABYTE) + b"\n")


def bombs(place: Place) -> None:
    """What is small as text and large once it is parsed, and what nests without end."""
    append(place, b'{"event": "a", "x": ' + b"[" * 400_000 + b"]" * 400_000 + b"}\n")
    append(place, b'{"event": "b", "x": ' + b'{"a":' * 150_000 + b"1" + b"}" * 150_000 + b"}\n")
    for _ in range(4):
        append(place, b'{"event": "c", "x": [' + b"[]," * 300_000 + b"[]]}\n")
    append(place, b'{"event": "d", "x": ' + b"9" * 900_000 + b"}\n")


def odd_numbers(place: Place) -> None:
    for value in ("-1", "-9e99", "NaN", "Infinity", "-Infinity", "1e400", "9" * 400, "true", '"7"'):
        for kind in ("progress", "metric", "checkpoint", "outcome", "artifact"):
            names = ("step", "total", "epoch", "value", "bytes", "time", "status", "path", "name")
            body = ", ".join(f'"{name}": {value}' for name in names)
            append(place, f'{{"event": "{kind}", {body}}}\n'.encode())


def escapes(place: Place) -> None:
    for text in ("\x1b]0;pwned\x07\x1b[2J", "\x9b31m", "a\rb", "\u202egnp.exe", "x' OR 1=1; --"):
        for kind in ("note", "metric", "checkpoint", "artifact", text):
            event = {"event": kind, "text": text, "name": text, "path": text, text: text}
            append(place, json.dumps(event, ensure_ascii=False).encode() + b"\n")
        bad = {"event": "outcome", "status": text, "reason": text}
        append(place, json.dumps(bad).encode() + b"\n")
    print("\x1b[2Jfrom the command")


def fifo(place: Place) -> None:
    remove(place)
    os.mkfifo(place)


def directory(place: Place) -> None:
    remove(place)
    place.mkdir()


def link_to_endless(place: Place) -> None:
    remove(place)
    place.symlink_to("/dev/zero")


def link_to_itself(place: Place) -> None:
    remove(place)
    place.symlink_to(place)


def link_to_terminal(place: Place) -> None:
    remove(place)
    place.symlink_to("/dev/tty")


def a_socket(place: Place) -> None:
    remove(place)
    os.chdir(place.parent)
    socket.socket(socket.AF_UNIX).bind(place.name)


def shrinking(place: Place) -> None:
    append(place, b'{"event": "metric", "name": "loss", "step": 1, "value": 1}\n' * 5000)
    time.sleep(1.2)
    place.write_bytes(b"")
    append(place, b'{"event": "note"}\n')


def append(place: Place, content: bytes) -> None:
    with place.open("ab") as stream:
        stream.write(content)


def remove(place: Place) -> None:
    place.unlink(missing_ok=True)


KINDS: dict[str, Callable[[Place], None]] = {
    kind.__name__: kind
    for kind in (
        torn,
        long_line,
        long_line_without_end,
        nul,
        not_utf8,
        bombs,
        odd_numbers,
        escapes,
        fifo,
        directory,
        link_to_endless,
        link_to_itself,
        link_to_terminal,
        a_socket,
        shrinking,
    )
}


def main() -> None:
    kind, ledger = sys.argv[1:]
    with Path(ledger).open("a") as file:
        print("begin", os.environ["MAEJOBS_RUN_ID"], file=file)
    KINDS[kind](Path(os.environ["MAEJOBS_EVENTS"]))
    time.sleep(1.1)  # the supervisor has a look at it
    with Path(ledger).open("a") as file:
        print("end", os.environ["MAEJOBS_RUN_ID"], file=file)


if __name__ == "__main__":
    main()
