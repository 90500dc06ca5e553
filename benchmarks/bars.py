"""Bars: what a figure should reach, told beside it; a benchmark that misses one exits with 1."""

import sys

_missed: list[str] = []


def bar(name: str, reached: float, least: float | None = None, most: float | None = None) -> str:
    """The bar in words, to be printed behind the figure; that it is missed is remembered."""
    low = least is not None and reached < least
    high = most is not None and reached > most
    if low or high:
        missed(name)
    words = [f"at least {least:g}"] if least is not None else []
    words += [f"at most {most:g}"] if most is not None else []
    return f"(bar: {' and '.join(words)}{', MISSED' if low or high else ''})"


def missed(name: str) -> None:
    """Remember that this one has missed a bar, or has failed."""
    _missed.append(name)


def verdict() -> int:
    """The exit code of what has been measured; bars that were missed are told once more."""
    for name in _missed:
        print(f"missed: {name}", file=sys.stderr)
    return 1 if _missed else 0
