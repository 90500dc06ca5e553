"""Work done ahead of its use, by threads, in the order in which it will be used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

AHEAD = 2  # results a worker, as torch's DataLoader has it; or batches, where they are more
SIZE = 256  # images of a batch that are one piece of work

Result = TypeVar("Result")


def pieces_of(images: int) -> list[slice]:
    """A batch of so many images in pieces."""
    return [slice(n, min(n + SIZE, images)) for n in range(0, images, SIZE)]


def results_ahead(images: int, workers: int) -> int:
    """How many pieces lie ahead: two a worker, or those of two batches of so many images."""
    return AHEAD * max(workers, len(pieces_of(images)))


def ahead(
    work: Callable[..., Result], inputs: Iterable[tuple[object, ...]], workers: int, results: int
) -> Iterator[Result]:
    """`work(*each)` of all inputs, in their order, so many of them ahead of their use.

    Without workers each is done when it is asked for.
    """
    if not workers:
        yield from (work(*each) for each in inputs)
        return
    todo = iter(inputs)
    with ThreadPoolExecutor(workers) as threads:
        begun: deque[Future[Result]] = deque(
            threads.submit(work, *each) for each in islice(todo, results)
        )
        try:
            while begun:
                result = begun.popleft().result()
                begun.extend(threads.submit(work, *each) for each in islice(todo, 1))
                yield result
        finally:
            for waiting in begun:
                waiting.cancel()
