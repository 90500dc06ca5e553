"""Random numbers that depend on what they are for, and on nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mae.draws import order, uniforms

seeds = st.integers(0, 2**63 - 1)


@given(seeds, st.integers(0, 2000), st.lists(st.integers(0, 10**7), min_size=1, max_size=9))
def test_a_draw_does_not_depend_on_the_batch_it_is_drawn_in(seed, epoch, samples):
    together = uniforms(seed, "crop", epoch, samples, 5)
    alone = np.concatenate([uniforms(seed, "crop", epoch, [s], 5) for s in samples])
    np.testing.assert_array_equal(together, alone)
    assert ((together >= 0) & (together < 1)).all()


def test_seed_purpose_epoch_and_sample_all_matter():
    base = uniforms(1, "crop", 2, [3], 4)
    for other in (
        (0, "crop", 2, [3]),
        (1, "flip", 2, [3]),
        (1, "crop", 3, [3]),
        (1, "crop", 2, [4]),
    ):
        assert not np.isin(uniforms(*other, 4), base).any()


def test_draws_are_uniform_and_independent():
    squares = []
    for seed in range(20):
        draws = uniforms(seed, "mask", 0, np.arange(20_000), 8)
        counts, _ = np.histogram(draws, bins=50, range=(0, 1))
        squares.append(((counts - draws.size / 50) ** 2).sum() / (draws.size / 50))
    assert 42 < np.mean(squares) < 56  # chi-squared with 49 degrees of freedom, three sigma
    correlation = np.corrcoef(draws.T) - np.eye(8)
    assert abs(correlation).max() < 0.03
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.03


@given(seeds, st.integers(0, 99), st.integers(1, 300))
def test_an_epoch_visits_every_sample_once(seed, epoch, size):
    assert sorted(order(seed, epoch, size)) == list(range(size))


def test_epochs_have_orders_of_their_own():
    assert (order(0, 0, 1000) != order(0, 1, 1000)).mean() > 0.99
