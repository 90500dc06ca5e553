"""Showing a person how training goes: a bar on a terminal, else a plain line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PLAIN_SECONDS = 10.0

Show = Callable[[int, float | None], None]


@contextmanager
def progress(total: int, start: int, aloud: bool = True) -> Iterator[Show]:
    """A function to call with (steps done, latest loss), shown on stderr as fits it."""
    if not aloud:
        yield lambda _step, _loss: None
        return
    with _bar(total, start) if sys.stderr.isatty() else _lines(total, start) as show:
        yield show


@contextmanager
def counting(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A function to call with how many of `total` are done, shown on stderr as fits it."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    last = time.monotonic()

    def show(done: int) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= PLAIN_SECONDS:
            last = now
            print(f"mae: {what}: {done} of {total} {unit}", file=sys.stderr, flush=True)

    yield show


@contextmanager
def _bar(total: int, start: int) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=total, completed=start)

        def show(step: int, loss: float | None) -> None:
            description = "training" if loss is None else f"loss {loss:.4f}"
            bar.update(task, completed=step, description=description)

        yield show


@contextmanager
def _lines(total: int, start: int) -> Iterator[Show]:
    begun = last = time.monotonic()

    def show(step: int, loss: float | None) -> None:
        nonlocal last
        now = time.monotonic()
        if loss is None or (now - last < PLAIN_SECONDS and step < total):
            return
        last = now
        speed = (step - start) / (now - begun)
        print(
            f"mae: step {step} of {total}, loss {loss:.4f}, {speed:.1f} steps/s",
            file=sys.stderr,
            flush=True,
        )

    yield show
