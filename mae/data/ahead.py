"""Work done ahead of its use, by threads, in the order in which it will be used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

AHEAD = 2  # results a worker, as torch's DataLoader has it

Result = TypeVar("Result")


def ahead(
    work: Callable[..., Result], inputs: Iterable[tuple[object, ...]], workers: int
) -> Iterator[Result]:
    """`work(*each)` of all inputs, in their order; without workers when it is asked for."""
    if not workers:
        yield from (work(*each) for each in inputs)
        return
    todo = iter(inputs)
    with ThreadPoolExecutor(workers) as threads:
        begun: deque[Future[Result]] = deque(
            threads.submit(work, *each) for each in islice(todo, AHEAD * workers)
        )
        try:
            while begun:
                result = begun.popleft().result()
                begun.extend(threads.submit(work, *each) for each in islice(todo, 1))
                yield result
        finally:
            for waiting in begun:
                waiting.cancel()
