"""Rotation on real directories: what goes, what never goes, and what a kill leaves."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maejobs.errors import UserError
from maejobs.keep import rotate as rotation
from maejobs.keep.checkpoint import newest_valid, pin
from maejobs.keep.retention import Policy
from maejobs.keep.rotate import rotate
from maejobs.keep.trash import set_aside

from .campaigns import (
    checkpoint_path,
    flip_a_bit,
    name_of,
    refuse_to_delete,
    snapshot,
    steps_in,
    tear,
    write_campaign,
    write_checkpoint,
    write_evaluation,
)

ONE = Policy(keep_last=1)


def test_what_no_rule_keeps_is_deleted_and_reported(tmp_path):
    campaign = write_campaign(tmp_path, 1, 2, 3)
    size = sum(file.stat().st_size for file in checkpoint_path(campaign, 1).iterdir())

    report = rotate(campaign, Policy(keep_last=2))

    assert steps_in(campaign) == [2, 3]
    assert report.removed == [name_of(1)]
    assert report.freed == size
    assert [d.keep for d in report.decisions] == [True, True, False]
    assert not list((campaign / "checkpoints").glob(".*"))


def test_a_dry_run_foretells_the_rotation_and_touches_nothing(tmp_path):
    campaign = write_campaign(tmp_path, 1, 2, 3, 4)
    flip_a_bit(campaign, 4)
    (campaign / "checkpoints" / ".trash-step-000000009").mkdir()
    before = snapshot(campaign)

    foretold = rotate(campaign, ONE, dry_run=True)
    assert snapshot(campaign) == before

    done = rotate(campaign, ONE)
    assert (foretold.removed, foretold.freed) == (done.removed, done.freed)
    assert foretold.decisions == done.decisions
    assert done.swept == [".trash-step-000000009"]


def test_a_newest_checkpoint_with_a_flipped_bit_costs_no_good_one(tmp_path):
    campaign = write_campaign(tmp_path, 1, 2, 3, 4)
    flip_a_bit(campaign, 4)
    flip_a_bit(campaign, 3)

    report = rotate(campaign, ONE)

    assert steps_in(campaign) == [2]
    assert report.decisions[0].reasons[0].startswith("invalid: weights.safetensors does not match")
    assert report.decisions[2].reasons == ("newest valid", "last")


def test_where_every_checkpoint_is_damaged_all_of_them_stay(tmp_path):
    campaign = write_campaign(tmp_path, 1, 2, 3)
    for step in (1, 2):
        flip_a_bit(campaign, step)
    tear(campaign, 3)

    assert rotate(campaign, ONE).removed == []
    assert steps_in(campaign) == [1, 2, 3]


def test_nothing_is_hashed_when_nothing_is_to_go(tmp_path, monkeypatch):
    campaign = write_campaign(tmp_path, 1, 2)
    monkeypatch.setattr(rotation, "verified", lambda checkpoint: pytest.fail("read every byte"))

    assert rotate(campaign, Policy(keep_last=2)).removed == []


def test_the_best_stays_by_its_evaluation(tmp_path):
    campaign = write_campaign(tmp_path, 1, 2, 3, 4)
    for step, score in ((1, 0.4), (2, 0.2), (3, 0.3), (4, 0.9)):
        write_evaluation(campaign, step, reconstruction_mse=score)

    rotate(campaign, Policy(keep_last=1, best=1, metric="reconstruction_mse"))

    assert steps_in(campaign) == [2, 4]


def test_a_metric_nobody_has_deletes_nothing(tmp_path):
    campaign = write_campaign(tmp_path, 1, 2)
    write_evaluation(campaign, 1, knn=0.5)

    with pytest.raises(UserError, match="known: knn"):
        rotate(campaign, Policy(keep_last=1, best=1, metric="accuracy"))
    assert steps_in(campaign) == [1, 2]


def test_before_the_first_evaluation_the_report_says_so(tmp_path):
    campaign = write_campaign(tmp_path, 1, 2)

    report = rotate(campaign, Policy(keep_last=2, best=1, metric="knn"))

    assert report.remarks == ("no checkpoint has a knn yet, so none is kept as the best",)


def test_a_newer_format_is_never_deleted(tmp_path):
    campaign = write_campaign(tmp_path, 1, 2)
    write_checkpoint(campaign, 3, said={"format": 2})

    rotate(campaign, ONE)

    assert steps_in(campaign) == [2, 3]


def test_links_are_not_followed_out_of_the_campaign(tmp_path):
    campaign = write_campaign(tmp_path / "campaign", 2, 3)
    treasure = write_checkpoint(tmp_path / "elsewhere", 1)
    (campaign / "checkpoints" / name_of(1)).symlink_to(treasure)
    (campaign / "checkpoints" / f".trash-{name_of(4)}").symlink_to(treasure)
    (checkpoint_path(campaign, 2) / "link").symlink_to(treasure)
    before = snapshot(treasure)

    rotate(campaign, ONE)

    assert snapshot(treasure) == before
    assert steps_in(campaign) == [1, 3]


def test_a_pin_that_arrives_at_the_last_moment_still_counts(tmp_path, monkeypatch):
    campaign = write_campaign(tmp_path, 1, 2)

    def pin_then_set_aside(path: Path) -> Path:
        pin(path)
        return set_aside(path)

    monkeypatch.setattr(rotation, "set_aside", pin_then_set_aside)
    report = rotate(campaign, ONE)

    assert steps_in(campaign) == [1, 2]
    assert report.removed == []
    assert report.decisions[1].reasons == ("pinned",)


def test_what_cannot_be_deleted_keeps_nothing_else_from_going(tmp_path, monkeypatch):
    campaign = write_campaign(tmp_path, 1, 2, 3, 4)
    refuse_to_delete(name_of(2), monkeypatch)
    stuck = campaign / "checkpoints" / f".trash-{name_of(2)}"
    line = f"{stuck}: cannot be deleted: Operation not permitted (of-root)"

    report = rotate(campaign, Policy(keep_last=2))

    assert (report.removed, report.undeleted) == ([name_of(1)], (line,))
    assert steps_in(campaign) == [3, 4]
    write_checkpoint(campaign, 5)
    report = rotate(campaign, Policy(keep_last=2))
    assert (report.removed, report.undeleted) == ([name_of(3)], (line,))
    monkeypatch.undo()
    assert rotate(campaign, Policy(keep_last=2)).swept == [stuck.name]


def test_an_unknown_campaign_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no such campaign"):
        rotate(tmp_path / "typo", ONE)


def test_a_campaign_before_its_first_checkpoint_has_nothing_to_rotate(tmp_path):
    assert rotate(tmp_path, ONE).decisions == []


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.integers(1, 60), st.sampled_from(["good", "torn", "flipped"]), max_size=6),
    st.sets(st.integers(1, 60)),
    st.builds(Policy, *[st.integers(0, 3)] * 4),
)
def test_newest_valid_and_pinned_survive_whatever_is_damaged(states, pinned, policy):
    with TemporaryDirectory() as directory:
        campaign = write_campaign(Path(directory), *states)
        for step, state in states.items():
            {"torn": tear, "flipped": flip_a_bit}.get(state, lambda *_: None)(campaign, step)
            if step in pinned:
                pin(checkpoint_path(campaign, step))
        newest = newest_valid(campaign, deep=True)

        rotate(campaign, policy)

        assert newest_valid(campaign, deep=True) == newest
        assert pinned & states.keys() <= set(steps_in(campaign))
        if newest is None:
            assert set(steps_in(campaign)) == states.keys()


ROTATE = """
import sys
from pathlib import Path
from maejobs.keep.retention import Policy
from maejobs.keep.rotate import rotate
print("ready", flush=True)
rotate(Path(sys.argv[1]), Policy(keep_last=1))
"""


@pytest.mark.fault
def test_a_kill_at_any_moment_leaves_the_last_good_checkpoint(tmp_path):
    """Checkpoints of many files make deleting slow enough to be hit in the middle."""
    model = tmp_path / "model"
    for step in range(1, 10):
        write_checkpoint(model, step, extra_files=150)
    flip_a_bit(model, 9)
    moments = random.Random(7)
    caught_at_it = 0
    for attempt, campaign in enumerate(tmp_path / f"campaign-{i}" for i in range(10)):
        shutil.copytree(model, campaign)
        with subprocess.Popen([sys.executable, "-c", ROTATE, campaign], stdout=-1) as process:
            process.stdout.readline()
            began = time.monotonic()
            if attempt == 0:
                process.wait()
                needed = time.monotonic() - began
            time.sleep(moments.uniform(0.1, 1) * needed)
            process.kill()
        if attempt and process.returncode == 0:
            needed *= 0.8  # it was done before its time: the first one had a busier machine

        print(
            "LEFT",
            process.returncode,
            steps_in(campaign),
            [p.name for p in (campaign / "checkpoints").glob(".*")],
        )
        assert newest_valid(campaign, deep=True).step == 8
        caught_at_it += process.returncode != 0 and len(steps_in(campaign)) < 9
        rotate(campaign, ONE)
        assert steps_in(campaign) == [8]
        assert not list((campaign / "checkpoints").glob(".trash-*"))
    assert caught_at_it
