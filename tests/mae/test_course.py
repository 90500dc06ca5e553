"""Which samples a step learns from, while batch sizes come and go."""

from hypothesis import given
from hypothesis import strategies as st

from mae.data.course import Course

batch_sizes = st.integers(1, 20)


@given(st.integers(20, 60), batch_sizes, st.integers(0, 200))
def test_with_one_batch_size_a_step_is_an_epoch_and_a_place_in_it(images, size, step):
    course = Course(images, size)
    epoch, within = divmod(step, images // size)
    assert course.place(step) == (epoch, within * size)
    assert abs(course.epochs(step) - step / course.per_epoch) < 1e-9
    assert course.seen(step) == step * size
    assert course.steps(epoch + within / course.per_epoch) == step


@given(st.integers(20, 60), st.lists(st.tuples(batch_sizes, st.integers(0, 30)), min_size=2))
def test_an_epoch_shows_no_image_twice_whatever_the_batches(images, nights):
    course, step, seen, before = Course(images, nights[0][0]), 0, 0, 0.0
    shown: set[tuple[int, int]] = set()
    for size, steps in nights:
        course = course.changed(step, size)
        for step in range(step, step + steps):  # noqa: B020 - the next night goes on from here
            assert before <= course.epochs(step)
            before = course.epochs(step)
            epoch, offset = course.place(step)
            batch = {(epoch, place) for place in range(offset, offset + size)}
            assert offset + size <= images
            assert not batch & shown
            shown |= batch
            seen += size
        step += steps > 0
        assert course.seen(step) == seen == len(shown)


@given(st.integers(20, 60), batch_sizes, batch_sizes, st.integers(0, 50), st.integers(1, 9))
def test_a_campaign_ends_with_its_last_epoch_whatever_the_batches(images, size, other, step, more):
    course = Course(images, size).changed(step, other)
    end = course.place(step)[0] + more
    total = course.steps(end)
    assert course.place(total) == (end, 0)
    assert course.place(total - 1)[0] == end - 1
    assert course.steps(0) == course.since.step


def test_a_batch_size_twice_as_large_goes_on_behind_what_was_seen():
    course = Course(100, 10).changed(13, 20)
    assert [course.place(step) for step in range(13, 19)] == [
        (1, 30), (1, 50), (1, 70), (2, 0), (2, 20), (2, 40),
    ]  # fmt: skip
    assert course.steps(3.4) == 23
