"""One keeper at a time."""

import pytest

from maejobs.errors import MaejobsError, NotNow
from maejobs.keep import lock
from maejobs.keep.backup import back_up, restore
from maejobs.keep.retention import Policy
from maejobs.keep.rotate import rotate

from .campaigns import snapshot, write_campaign


@pytest.mark.parametrize(
    "keeper",
    [
        lambda campaign, elsewhere: rotate(campaign, Policy(keep_last=1)),
        lambda campaign, elsewhere: back_up(campaign, elsewhere),
        lambda campaign, elsewhere: restore(elsewhere / "full" / "campaign", campaign, 3),
    ],
    ids=["rotate", "back_up", "restore"],
)
def test_whoever_comes_second_does_nothing_and_says_not_now(tmp_path, monkeypatch, keeper):
    monkeypatch.setattr(lock, "PATIENCE", 0.05)
    campaign = write_campaign(tmp_path / "campaign", 1, 2)
    write_campaign(tmp_path / "elsewhere" / "full" / "campaign", 3)
    with lock.hold(campaign):
        before = snapshot(campaign)
        with pytest.raises(NotNow, match="another rotation, backup or restore") as refusal:
            keeper(campaign, tmp_path / "elsewhere")
        assert snapshot(campaign) == before

    assert refusal.value.reason == "lock"
    keeper(campaign, tmp_path / "elsewhere")


def test_a_dry_run_asks_for_no_lock(tmp_path):
    campaign = write_campaign(tmp_path / "campaign", 1, 2)
    with lock.hold(campaign):
        assert rotate(campaign, Policy(keep_last=1), dry_run=True).removed == ["step-000000001"]


def test_a_place_that_cannot_be_locked_is_named(tmp_path):
    (tmp_path / lock.LOCK_NAME).mkdir()

    with pytest.raises(MaejobsError, match="cannot be locked"), lock.hold(tmp_path):
        pass
