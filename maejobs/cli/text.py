"""Text that is safe to print. Imports next to nothing, since every command may need it."""

LONGEST_SAID = 500  # characters


def visible(text: str) -> str:
    """`text` with control characters shown, so that a name or log cannot drive the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else _shown(c) for c in text)


def shown_line(line: bytes) -> str:
    """A line of a log for a terminal; of what a progress bar rewrote in place, its last state."""
    return visible(line.decode(errors="replace").rstrip("\r\n").rsplit("\r", 1)[-1])


def on_one_line(text: str) -> str:
    """`text` with line breaks and tabs shown too: nothing in it can pass for a line of ours."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def one_line(text: str) -> str:
    """`text` as it may stand in a table's cell."""
    return visible(" ".join(text.split()))


def in_short(text: str) -> str:
    """What a command said of itself, cut to what a list can hold; `show` and --json tell all."""
    return text if len(text) <= LONGEST_SAID else f"{text[:LONGEST_SAID]}…"


def _shown(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
