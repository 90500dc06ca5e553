"""A log that nobody reads stops nothing."""

import os

from maejobs.daemon.log import Log


def test_a_full_pipe_drops_lines_and_says_how_many() -> None:
    reading, writing = os.pipe()
    log = Log(writing)
    for number in range(40):
        log.write(f"{number} " + "x" * 5000)
    first = os.read(reading, 1 << 20)
    assert first.startswith(b"0 x")
    written = first.count(b"\n")
    assert 0 < written < 40
    log.write("and on")
    assert os.read(reading, 100) == f"({40 - written} lines of log dropped)\nand on\n".encode()
    os.close(reading)
    log.write("to nobody")
    os.close(writing)
