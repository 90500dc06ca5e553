"""In which zone cron reads our block; `TZ`, wherever it is set, has no say in it."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from maejobs.cron.block import Entry, render_block
from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.cron.zone import schedule_zone
from maejobs.home import Home

BERLIN, TOKYO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")
BLOCK = render_block([Entry("pretrain", "0 2 * * *", "/opt/maejobs exec pretrain")])


@pytest.fixture(autouse=True)
def berlin(monkeypatch):
    monkeypatch.setenv(ZONE_VARIABLE, "Europe/Berlin")
    monkeypatch.setenv("TZ", "America/New_York")


@pytest.mark.parametrize(
    ("dialect", "above", "zone"),
    [
        ("debian", b"CRON_TZ=Asia/Tokyo\n", BERLIN),
        ("busybox", b"CRON_TZ=Asia/Tokyo\n", BERLIN),
        ("cronie", b"", BERLIN),
        ("cronie", b"TZ=Asia/Tokyo\n", BERLIN),
        ("cronie", b"# CRON_TZ=Asia/Tokyo\n", BERLIN),
        ("cronie", b"CRON_TZ=Asia/Tokyo\n", TOKYO),
        ("cronie", b"CRON_TZ=Europe/Rome\n@daily x\nCRON_TZ = 'Asia/Tokyo'\n", TOKYO),
    ],
)
def test_only_cronies_own_variable_above_the_block_changes_it(tmp_path, dialect, above, zone):
    home = Home(tmp_path, configured_dialect=dialect)
    assert schedule_zone(home, above + BLOCK) == zone
    assert schedule_zone(home, above + BLOCK + b"CRON_TZ=America/Lima\n") == zone


def test_the_table_is_read_where_that_matters(tmp_path):
    table = Path(tmp_path, "crontab")
    table.write_bytes(b"CRON_TZ=Asia/Tokyo\n" + BLOCK)
    named = {"crontab": str(table)}
    assert schedule_zone(Home(tmp_path, **named, configured_dialect="cronie")) == TOKYO
    table.unlink()
    table.mkdir()  # which cannot be read
    assert schedule_zone(Home(tmp_path, **named, configured_dialect="debian")) == BERLIN
