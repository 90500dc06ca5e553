"""A training that goes wrong goes back, leaves the bad steps out, and gives up in the end."""

import json
import math
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_resume import changed, files_of, night

from mae.data.course import Course
from mae.errors import BadInput, TrainingFailed
from mae.train import loop
from mae.train.checkpoint import load_weights, read
from mae.train.divergence import Divergence, read_skipped, why_diverged
from mae.train.trainer import Trainer

losses = st.floats(0.1, 10)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_wrong_from_the_start(loss):
    assert why_diverged(loss, []) == f"the loss is {loss}"


def test_a_spike_is_told_with_what_was_usual():
    assert why_diverged(2.0, [0.5] * 8) == "the loss is 2, where it was 0.5 (median of 8 windows)"
    assert why_diverged(2.0, [0.5] * 7) is None  # too few to say what is usual
    assert why_diverged(0.6, [0.5] * 8) is None


def test_only_the_newest_windows_say_what_is_usual():
    assert why_diverged(2.0, [2.0] * 100 + [0.5] * 32) is not None


@given(st.lists(losses, max_size=80), losses)
def test_a_loss_within_what_was_seen_lately_is_no_spike(before, loss):
    if why_diverged(loss, before) is not None:
        assert loss > sorted(before[-32:])[len(before[-32:]) // 2]


@given(st.lists(losses, min_size=8, max_size=80), losses, losses)
def test_what_is_worse_than_a_spike_is_one(before, loss, more):
    if why_diverged(loss, before) is not None:
        assert why_diverged(loss + more, before) is not None


@pytest.fixture
def poisoned(monkeypatch):
    """`poisoned(6)`: the batch of step 6 makes the weights not a number, whenever it is used."""

    def poison(*steps: int) -> None:
        train_on = Trainer.train_on

        def poisonous(self, batch):
            bad = self.step in steps
            loss, rate = train_on(self, batch)
            if bad:
                with torch.no_grad():
                    self.model.cls_token.fill_(math.nan)
                loss = loss * math.nan
            return loss, rate

        monkeypatch.setattr(Trainer, "train_on", poisonous)

    return poison


@pytest.fixture
def watchful(tiny):
    return changed(tiny, "run", log_every_steps=2, checkpoint_every_steps=4)


def test_it_goes_back_and_leaves_the_window_out(tmp_path, watchful, poisoned):
    poisoned(6)
    assert night(tmp_path, watchful)[0] == "completed"
    (skipped,) = read_skipped(tmp_path / "skipped.json")
    assert (skipped.first, skipped.last) == (6, 8)
    newest = read(tmp_path / "checkpoints" / "step-000000012")
    assert all(weight.isfinite().all() for weight in load_weights(newest).values())
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6, 10, 12]
    assert {row["night"] for row in rows} == {1}


def test_what_is_left_out_is_not_even_read(tmp_path, watchful, poisoned, monkeypatch):
    """Reading may take long, and no signal or deadline is looked at meanwhile."""
    poisoned(6)
    night(tmp_path, watchful, until=8)
    read: list[int] = []
    steps_of = loop.training_batches

    def told(images, view, seed, course, steps, *more):
        read.extend(steps := list(steps))
        return steps_of(images, view, seed, course, steps, *more)

    monkeypatch.setattr(loop, "training_batches", told)
    shutil.rmtree(tmp_path / "checkpoints/step-000000008")
    assert night(tmp_path, watchful)[0] == "completed"
    assert read == [4, 5, 8, 9, 10, 11]


def test_before_there_is_a_checkpoint_it_starts_anew(tmp_path, watchful, poisoned):
    poisoned(1)
    assert night(tmp_path, watchful)[0] == "completed"
    assert read_skipped(tmp_path / "skipped.json")[0].first == 0


def test_later_nights_leave_it_out_too_and_end_with_the_same_weights(tmp_path, watchful, poisoned):
    poisoned(6)
    night(tmp_path / "whole", watchful)
    night(tmp_path / "parts", watchful, until=8)
    night(tmp_path / "parts", watchful, until=10)
    night(tmp_path / "parts", watchful)
    assert len(read_skipped(tmp_path / "parts" / "skipped.json")) == 1
    whole, parts = files_of(tmp_path / "whole"), files_of(tmp_path / "parts")
    assert whole["weights.safetensors"] == parts["weights.safetensors"]


def test_too_many_in_a_night_fail_it_with_the_evidence(tmp_path, watchful, poisoned):
    poisoned(*range(4, 12))
    with pytest.raises(TrainingFailed, match="wrong 3 times") as failed:
        night(tmp_path, changed(watchful, "run", most_divergences=2))
    for steps in ("steps 4 to 5: the loss is nan", "steps 6 to 7", "steps 8 to 9"):
        assert steps in str(failed.value)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000000004"]


@pytest.mark.parametrize("text", ["", "{}x", '[{"first": 1}]', "[3]"])
def test_a_damaged_record_is_not_guessed_at(tmp_path, text):
    (tmp_path / "skipped.json").write_text(text)
    with pytest.raises(BadInput, match=r"skipped\.json: not the skipped steps"):
        read_skipped(tmp_path / "skipped.json")


def test_a_divergence_holds_its_samples_in_whatever_batches():
    course = Course(100, 10)
    found = Divergence.of(course, 8, 12, math.nan, "")  # the last 20 of an epoch, 20 of the next
    assert [step for step in range(20) if found.meets(course, step)] == [8, 9, 10, 11]
    smaller = course.changed(4, 5)
    assert [s for s in range(4, 40) if found.meets(smaller, s)] == list(range(12, 20))
    larger = course.changed(4, 15)  # four of an epoch that has 60 left: the last from 85 on
    assert [s for s in range(4, 20) if found.meets(larger, s)] == [6, 7, 8, 9]


def test_steps_left_out_are_the_same_samples_after_another_batch_size(tmp_path, watchful, poisoned):
    poisoned(6)
    watchful = changed(watchful, "run", checkpoint_every_steps=2)
    night(tmp_path, watchful, until=4)  # its last checkpoint is there, however slow the disk
    night(tmp_path, watchful, until=10)
    (skipped,) = read_skipped(tmp_path / "skipped.json")
    assert (skipped.begin, skipped.end) == ((0, 96), (0, 128))
    for path in (tmp_path / "checkpoints").glob("step-*"):
        if int(path.name[5:]) > 4:
            shutil.rmtree(path)
    learnt = []
    train_on = Trainer.train_on

    def told(self, batch):
        learnt.append(self.course.place(self.step))
        return train_on(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train_on", told)
        night(tmp_path, changed(watchful, "recipe", batch_size=8))
    assert learnt[:4] == [(0, 64), (0, 72), (0, 80), (0, 88)]
    assert learnt[4] == (0, 128)


def test_a_checkpoint_that_the_guard_let_pass_is_not_gone_on_from(tmp_path, watchful, monkeypatch):
    """The loss of a step is that before its update: here the weights are ruined behind it."""
    watchful = changed(watchful, "run", checkpoint_every_steps=2)
    train_on = Trainer.train_on

    def ruins(self, batch):
        result = train_on(self, batch)
        if self.step == 6:
            with torch.no_grad():
                self.model.cls_token.fill_(math.nan)
        return result

    monkeypatch.setattr(Trainer, "train_on", ruins)
    assert night(tmp_path, watchful)[0] == "completed"
    (skipped,) = read_skipped(tmp_path / "skipped.json")
    assert (skipped.first, skipped.last) == (4, 6)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert "step-000000006.diverged" in names
    newest = read(tmp_path / "checkpoints" / "step-000000012")
    assert all(weight.isfinite().all() for weight in load_weights(newest).values())


def test_one_that_was_ruined_before_another_batch_size_is_not_gone_on_from_either(
    tmp_path, watchful, monkeypatch
):
    watchful = changed(watchful, "run", checkpoint_every_steps=2)
    train_on = Trainer.train_on

    def ruins(self, batch):
        result = train_on(self, batch)
        if self.step == 6 and self.course.batch_size == 16:
            with torch.no_grad():
                self.model.cls_token.fill_(math.nan)
        return result

    monkeypatch.setattr(Trainer, "train_on", ruins)
    night(tmp_path, watchful, until=6)
    assert night(tmp_path, changed(watchful, "recipe", batch_size=8))[0] == "completed"
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert "step-000000006.diverged" in names
    (skipped,) = read_skipped(tmp_path / "skipped.json")
    assert (skipped.first, skipped.last, skipped.end) == (4, 6, (0, 96))


def test_a_short_window_may_deviate_by_more():
    before = [1.0, 1.1, 0.9, 1.05, 0.95] * 2
    assert why_diverged(2.0, before) is not None
    assert why_diverged(2.0, before, share=0.25) is None
    assert why_diverged(math.nan, before, share=0.01) is not None


def test_a_campaign_that_learns_nothing_does_not_complete(tmp_path, watchful, poisoned):
    poisoned(*range(12))
    with pytest.raises(TrainingFailed, match="no step has taught anything"):
        night(tmp_path, changed(watchful, "run", log_every_steps=20, checkpoint_every_steps=None))


@pytest.mark.parametrize(
    "row", [{"first": "1"}, {"begin": [0, 1.5]}, {"loss": None}, {"end": [1]}, {"why": {}, "x": 1}]
)
def test_a_record_of_other_kinds_is_not_guessed_at_either(tmp_path, row):
    good = {"first": 1, "last": 2, "loss": 1.0, "why": "", "begin": [0, 1], "end": [0, 2]}
    (tmp_path / "skipped.json").write_text(json.dumps([good | row]))
    with pytest.raises(BadInput, match=r"skipped\.json: not the skipped steps"):
        read_skipped(tmp_path / "skipped.json")
