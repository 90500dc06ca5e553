"""Work done ahead by threads: in order, no further ahead than told, and over when nobody asks."""

import threading
import time

import pytest

from mae.data.ahead import ahead, pieces_of, results_ahead


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_the_order_of_their_inputs(workers):
    def work(number: int) -> int:
        time.sleep(0.01 * (number % 3))
        return number * number

    assert list(ahead(work, [(n,) for n in range(20)], workers, 6)) == [n * n for n in range(20)]


def test_no_more_is_begun_than_workers_are_ahead():
    begun = []
    results = ahead(begun.append, ((n,) for n in range(1000)), 2, 4)
    for _ in range(5):
        next(results)
    results.close()
    assert 5 <= len(begun) <= 5 + 4


def test_what_goes_wrong_comes_where_its_result_would_have():
    def work(number: int) -> float:
        return 1 / (3 - number)

    results = ahead(work, [(n,) for n in range(6)], 2, 4)
    assert [next(results) for _ in range(3)] == [1 / 3, 1 / 2, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_threads_are_gone_when_nobody_asks_any_more():
    before = threading.active_count()
    results = ahead(lambda n: n, ((n,) for n in range(1000)), 3, 6)
    next(results)
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before


def test_two_batches_lie_ahead_or_two_pieces_a_worker():
    assert pieces_of(600) == [slice(0, 256), slice(256, 512), slice(512, 600)]
    assert results_ahead(4096, workers=12) == 32
    assert results_ahead(600, workers=12) == 24
