"""Text that is safe to print: a name in a data set may hold what a terminal obeys."""


def on_one_line(text: str) -> str:
    """`text` with control characters, line breaks and what reverses text shown, as `\\x1b`."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
