"""Reading a campaign's checkpoints: what is there, what is wrong with it, what is pinned."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from maejobs.errors import UserError
from maejobs.keep.checkpoint import newest_valid, pin, read_checkpoints, unpin

from .campaigns import (
    checkpoint_path,
    flip_a_bit,
    name_of,
    tear,
    write_campaign,
    write_checkpoint,
    write_evaluation,
)


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    return write_campaign(tmp_path / "campaign")


def problem_of(campaign: Path, deep: bool = False) -> str | None:
    (checkpoint,) = read_checkpoints(campaign, deep)
    return checkpoint.problem


def test_the_newest_step_comes_first_whatever_the_dates_say(campaign):
    write_checkpoint(campaign, 10, created=datetime(2026, 5, 1, tzinfo=UTC))
    write_checkpoint(campaign, 20, created=datetime(2026, 4, 1, tzinfo=UTC))

    assert [c.step for c in read_checkpoints(campaign)] == [20, 10]


def test_a_checkpoint_tells_its_date_size_and_name(campaign):
    path = write_checkpoint(campaign, 10, created=datetime(2026, 5, 1, tzinfo=UTC))

    (checkpoint,) = read_checkpoints(campaign)

    assert (checkpoint.path, checkpoint.name) == (path, "step-000000010")
    assert checkpoint.created == datetime(2026, 5, 1, tzinfo=UTC)
    assert checkpoint.bytes == sum(file.stat().st_size for file in path.iterdir())
    assert checkpoint.problem is None


def test_an_evaluations_scores_outweigh_the_manifests(campaign):
    write_checkpoint(campaign, 10, metrics={"loss": 0.5, "knn": 0.1})
    write_evaluation(campaign, 10, knn=0.7)

    (checkpoint,) = read_checkpoints(campaign)

    assert checkpoint.metrics == {"loss": 0.5, "knn": 0.7}
    assert checkpoint.evaluated


def test_what_is_not_a_finite_number_is_no_score(campaign):
    write_checkpoint(
        campaign, 10, metrics={"nan": float("nan"), "note": "good", "yes": True, "huge": 10**400}
    )

    (checkpoint,) = read_checkpoints(campaign)

    assert checkpoint.metrics == {}
    assert checkpoint.problem is None


@pytest.mark.parametrize("content", ["", "[]", '{"step": 11, "metrics": {"knn": 1}}', "[" * 10**5])
def test_a_broken_evaluation_is_none_and_no_fault_of_the_checkpoint(campaign, content):
    write_checkpoint(campaign, 10)
    write_evaluation(campaign, 10).write_text(content)

    (checkpoint,) = read_checkpoints(campaign)

    assert (checkpoint.metrics, checkpoint.problem, checkpoint.evaluated) == ({}, None, False)


def test_temporaries_trash_and_other_files_are_no_checkpoints(campaign):
    for name in (".tmp-step-000000010", ".trash-step-000000020", "step-7", "step-000000030x"):
        (campaign / "checkpoints" / name).mkdir()
    (campaign / "checkpoints" / "step-000000040").write_text("a file")

    assert read_checkpoints(campaign) == []


def test_a_campaign_without_checkpoints_has_none(tmp_path):
    assert read_checkpoints(tmp_path) == []
    assert newest_valid(tmp_path) is None


def test_an_unknown_campaign_is_an_error_and_not_an_empty_list(tmp_path):
    with pytest.raises(UserError, match="typo: no such campaign"):
        read_checkpoints(tmp_path / "typo")


def test_checkpoints_behind_a_link_are_refused(tmp_path):
    elsewhere = write_campaign(tmp_path / "elsewhere", 10)
    campaign = tmp_path / "campaign"
    campaign.mkdir()
    (campaign / "checkpoints").symlink_to(elsewhere / "checkpoints")

    with pytest.raises(UserError, match="symbolic link"):
        read_checkpoints(campaign)


def test_the_newest_valid_checkpoint_is_behind_the_torn_ones(tmp_path):
    campaign = write_campaign(tmp_path, 10, 20, 30)
    tear(campaign, 30)
    flip_a_bit(campaign, 20)

    assert newest_valid(campaign).step == 20
    assert newest_valid(campaign, deep=True).step == 10


def test_a_flipped_bit_shows_only_to_those_who_look_at_every_byte(tmp_path):
    campaign = write_campaign(tmp_path, 10)
    flip_a_bit(campaign, 10)

    assert problem_of(campaign) is None
    assert problem_of(campaign, deep=True) == "weights.safetensors does not match its SHA-256"


def test_a_torn_file_says_what_is_short(tmp_path):
    campaign = write_campaign(tmp_path, 10)
    tear(campaign, 10)

    assert problem_of(campaign) == "state.pt has 499 bytes instead of 500"


def test_a_missing_file_is_named(tmp_path):
    campaign = write_campaign(tmp_path, 10)
    (checkpoint_path(campaign, 10) / "state.pt").unlink()

    assert problem_of(campaign) == "state.pt is missing"


@pytest.mark.fault
def test_a_manifest_cut_short_anywhere_makes_an_invalid_checkpoint(tmp_path):
    campaign = write_campaign(tmp_path, 10)
    manifest = checkpoint_path(campaign, 10) / "manifest.json"
    whole = manifest.read_bytes()

    for length in range(len(whole)):
        manifest.write_bytes(whole[:length])
        assert problem_of(campaign) == "manifest.json is not JSON", whole[:length]


@pytest.mark.fault
@pytest.mark.parametrize(
    "garbage", [b"\x00" * 100, b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b'{"format": 1}', b"{}"]
)
def test_a_manifest_of_garbage_makes_an_invalid_checkpoint(tmp_path, garbage):
    campaign = write_campaign(tmp_path, 10)
    (checkpoint_path(campaign, 10) / "manifest.json").write_bytes(garbage)

    (checkpoint,) = read_checkpoints(campaign)

    assert checkpoint.problem is not None
    assert checkpoint.judged


@pytest.mark.parametrize(
    "said",
    [
        {"step": 11},
        {"step": True},
        {"step": "10"},
        {"format": 0},
        {"created": "yesterday"},
        {"created": "9999-12-31T23:59:59+00:00"},
        {"created": "0001-01-01T00:00:00+00:00"},
        {"files": {}},
        {"files": []},
        {"files": {"weights.safetensors": {"bytes": 500, "sha256": "0" * 64}}},
        {"files": {"weights.safetensors": 500, "state.pt": 500}},
        {"files": {n: {"bytes": 500, "sha256": "?"} for n in ("weights.safetensors", "state.pt")}},
    ],
)
def test_a_manifest_that_says_nonsense_makes_an_invalid_checkpoint(campaign, said):
    write_checkpoint(campaign, 10, said=said)

    assert problem_of(campaign) is not None


@pytest.mark.fault
@pytest.mark.parametrize(
    "name", ["../outside", "..", ".", "", "/etc/passwd", "a/b", "a\0b", "\ud800", "manifest.json"]
)
def test_a_manifest_that_names_files_elsewhere_is_not_followed(campaign, name):
    (campaign / "outside").write_bytes(b"x")
    (campaign / "checkpoints" / "outside").write_bytes(b"x")
    path = write_checkpoint(campaign, 10)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    (path / "manifest.json").write_text(json.dumps(manifest))

    assert "not a file of its own directory" in (problem_of(campaign) or "")


@pytest.mark.fault
@pytest.mark.parametrize("file", ["weights.safetensors", "manifest.json"])
def test_a_file_that_is_a_link_is_not_believed(campaign, tmp_path, file):
    path = write_checkpoint(campaign, 10)
    (path / file).rename(tmp_path / "moved")
    (path / file).symlink_to(tmp_path / "moved")

    assert problem_of(campaign) == f"{file} is not a plain file"


@pytest.mark.fault
@pytest.mark.timeout(10)
def test_a_pipe_in_place_of_a_manifest_does_not_block(campaign):
    path = write_checkpoint(campaign, 10)
    (path / "manifest.json").unlink()
    os.mkfifo(path / "manifest.json")

    assert problem_of(campaign) == "manifest.json is not a plain file"


def test_a_newer_format_is_not_ours_to_judge(campaign):
    write_checkpoint(campaign, 10, said={"format": 2})

    (checkpoint,) = read_checkpoints(campaign)

    assert checkpoint.problem == "format 2 is newer than this maejobs"
    assert not checkpoint.judged


def test_a_checkpoint_behind_a_link_is_not_ours_to_judge(campaign, tmp_path):
    elsewhere = write_checkpoint(write_campaign(tmp_path / "elsewhere"), 10)
    (campaign / "checkpoints" / name_of(10)).symlink_to(elsewhere)

    (checkpoint,) = read_checkpoints(campaign)

    assert (checkpoint.problem, checkpoint.judged, checkpoint.bytes) == (
        "a symbolic link",
        False,
        0,
    )


def test_a_date_without_an_offset_is_utc(campaign):
    write_checkpoint(campaign, 10, created=datetime(2026, 5, 1, 3))  # noqa: DTZ001

    (checkpoint,) = read_checkpoints(campaign)

    assert checkpoint.created == datetime(2026, 5, 1, 3, tzinfo=UTC)


def test_a_pin_stays_until_it_is_taken_out(campaign):
    path = write_checkpoint(campaign, 10)

    pin(path)
    pin(path)
    assert [c.pinned for c in read_checkpoints(campaign)] == [True]

    unpin(path)
    unpin(path)
    assert [c.pinned for c in read_checkpoints(campaign)] == [False]


@pytest.mark.parametrize("place", ["checkpoints/step-000000099", "checkpoints", "config.toml"])
def test_only_a_checkpoint_can_be_pinned(campaign, place):
    with pytest.raises(UserError):
        pin(campaign / place)
    with pytest.raises(UserError):
        unpin(campaign / place)
