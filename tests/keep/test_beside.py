"""What lies beside checkpoints: evidence of what went wrong, and trained heads, bounded."""

import json
import os
from pathlib import Path

import pytest

from maejobs.errors import MaejobsError
from maejobs.keep import beside as module
from maejobs.keep.beside import read_beside
from maejobs.keep.retention import Policy
from maejobs.keep.rotate import rotate

from .campaigns import name_of, refuse_to_delete, snapshot, steps_in, tear, write_campaign

ONE = Policy(keep_last=1)
FAMILY = "linear-fashion-tiny-1a2b3c4d"


def give_up(campaign: Path, step: int, when: int) -> Path:
    """A checkpoint set aside as `mae` does, `when` seconds after 1970."""
    path = campaign / "checkpoints" / f"{name_of(step)}.diverged"
    path.mkdir(parents=True)
    (path / "weights.safetensors").write_bytes(b"w" * 100)
    os.utime(path, (when, when))
    return path


def train_head(campaign: Path, step: int, finished: bool = True, family: str = FAMILY) -> Path:
    head = campaign / "heads" / family / name_of(step)
    head.mkdir(parents=True)
    (head / "plan.json").write_text("{}")
    (head / "weights.safetensors").write_bytes(b"w" * 100)
    if finished:
        result = campaign / "evaluations" / f"{family}-{name_of(step)}.json"
        result.parent.mkdir(exist_ok=True)
        result.write_text(json.dumps({"step": step, "metrics": {"top1": 50.0}}))
    return head


def names(report) -> tuple[list[str], list[str]]:
    """What stays and what goes."""
    kept = sorted(d.beside.path.name for d in report.beside if d.keep)
    return kept, sorted(d.beside.path.name for d in report.beside if not d.keep)


def test_of_diverged_checkpoints_the_newest_stay_as_they_were_given_up(tmp_path):
    campaign = write_campaign(tmp_path, 1)
    # After the last turn the campaign went on from further back.
    for step, when in ((7, 100), (9, 200), (8, 300), (3, 400)):
        give_up(campaign, step, when)
    (campaign / "checkpoints" / f"{name_of(7)}.diverged" / "pinned").touch()
    os.utime(campaign / "checkpoints" / f"{name_of(7)}.diverged", (100, 100))
    before = snapshot(campaign)
    foretold = rotate(campaign, ONE, dry_run=True)
    assert snapshot(campaign) == before
    done = rotate(campaign, ONE)
    assert done.beside == foretold.beside
    assert done.freed == foretold.freed == 100
    assert names(done) == ([f"{name_of(step)}.diverged" for step in (3, 7, 8)],
                           [f"{name_of(9)}.diverged"])  # fmt: skip
    assert {path.name for path in (campaign / "checkpoints").iterdir()} == {
        name_of(1), *(f"{name_of(step)}.diverged" for step in (3, 7, 8))
    }  # fmt: skip
    assert names(rotate(campaign, Policy(keep_last=1, diverged=0)))[0] == [f"{name_of(7)}.diverged"]


def test_heads_stay_with_their_checkpoint_while_unfinished_and_the_newest_of_each_recipe(tmp_path):
    campaign = write_campaign(tmp_path, 2, 8)
    for step in (2, 3, 4, 5, 6, 7):
        train_head(campaign, step, finished=step != 3)
    train_head(campaign, 1, family="other-1a2b3c4d")
    done = rotate(campaign, Policy(keep_last=2, heads=2))
    assert names(done) == ([name_of(n) for n in (1, 2, 3, 6, 7)], [name_of(n) for n in (4, 5)])
    left = [path.name for path in (campaign / "heads" / FAMILY).iterdir()]
    assert sorted(left) == [name_of(n) for n in (2, 3, 6, 7)]
    assert len(list((campaign / "evaluations").iterdir())) == 6
    assert list((campaign / "heads").glob(".*")) == []
    assert names(rotate(campaign, Policy(keep_last=1, heads=0)))[1] == [
        name_of(n) for n in (1, 2, 6, 7)
    ]


def test_where_no_checkpoint_is_valid_nothing_beside_them_goes(tmp_path):
    campaign = write_campaign(tmp_path, 1)
    tear(campaign, 1)
    for step in range(2, 7):
        give_up(campaign, step, step)
        train_head(campaign, step)
    assert names(rotate(campaign, Policy(keep_last=1, diverged=0, heads=0)))[1] == []


def test_what_somebody_linked_or_calls_otherwise_is_left_alone(tmp_path):
    campaign = write_campaign(tmp_path / "campaign", 1)
    elsewhere = train_head(tmp_path / "other", 5).parent
    (campaign / "heads").mkdir()
    (campaign / "heads" / FAMILY).symlink_to(elsewhere)
    (campaign / "heads" / "mine" / "notes").mkdir(parents=True)
    (campaign / "checkpoints" / f"{name_of(5)}.diverged").symlink_to(elsewhere)
    (campaign / "checkpoints" / "mine.diverged").mkdir()
    before = snapshot(tmp_path)
    assert rotate(campaign, Policy(keep_last=1, diverged=0, heads=0)).beside == ()
    assert snapshot(tmp_path).keys() - before.keys() <= {"campaign/.keep.lock"}


def test_what_cannot_be_deleted_of_it_is_told_and_the_rest_goes(tmp_path, monkeypatch):
    campaign = write_campaign(tmp_path, 1)
    for step in (2, 3, 4):
        train_head(campaign, step)
    refuse_to_delete(f"{FAMILY}-{name_of(2)}", monkeypatch)
    report = rotate(campaign, Policy(keep_last=1, heads=0))
    assert len(report.undeleted) == 1
    assert report.freed == 2 * len(b"{}" + b"w" * 100)
    assert read_beside(campaign) == []
    monkeypatch.undo()
    assert rotate(campaign, ONE).swept == [f".trash-{FAMILY}-{name_of(2)}"]
    assert steps_in(campaign) == [1]


def test_one_that_is_pinned_on_its_way_out_stays(tmp_path, monkeypatch):
    campaign = write_campaign(tmp_path, 1)
    given_up = give_up(campaign, 2, 100)
    really = module.set_aside

    def set_aside(path: Path) -> Path:
        (path / "pinned").touch()
        return really(path)

    monkeypatch.setattr(module, "set_aside", set_aside)
    (decision,) = rotate(campaign, Policy(keep_last=1, diverged=0)).beside
    assert (decision.keep, decision.reason, given_up.is_dir()) == (True, "pinned", True)


@pytest.mark.parametrize("name", ["diverged", "heads"])
def test_a_negative_count_deletes_nothing(name):
    with pytest.raises(MaejobsError, match=name):
        Policy(**{name: -1})
