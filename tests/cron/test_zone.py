"""In which zone cron reads our block; `TZ`, wherever it is set, has no say in it."""

from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.cron.block import Entry, render_block
from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.cron.target import TargetError
from maejobs.cron.zone import schedule_zone, zone_of_slots
from maejobs.errors import UserError
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
        ("cronie", b"# >>> maejobs: in Tokyo\nCRON_TZ=Asia/Tokyo\n", TOKYO),
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


@pytest.mark.parametrize("dialect", ["cronie", "no cron's"])
def test_what_cannot_be_read_costs_the_slots_no_zone(tmp_path, dialect):
    home = Home(tmp_path, crontab=str(tmp_path), configured_dialect=dialect)
    with pytest.raises((TargetError, UserError)):
        schedule_zone(home)
    assert zone_of_slots(home) == BERLIN


ZONES = st.sampled_from(["Asia/Tokyo", "America/Lima", "Europe/Rome"])
LINES = st.one_of(
    st.tuples(st.sampled_from(["CRON_TZ", "TZ", "CRON_TZ2"]), ZONES),
    st.sampled_from(["# CRON_TZ=Asia/Tokyo", "", "0 2 * * * CRON_TZ=Asia/Tokyo x", "no line"]).map(
        lambda text: (text,)
    ),
)


@given(st.lists(LINES), st.lists(LINES))
def test_the_last_variable_above_the_block_counts_whatever_else_is_there(above, below):
    def written(lines):
        return "".join("=".join(line) + "\n" for line in lines).encode()

    told = [line[1] for line in above if line[0] == "CRON_TZ"]
    table = written(above) + BLOCK + written(below)
    wanted = ZoneInfo(told[-1]) if told else BERLIN
    assert schedule_zone(Home(Path("/x"), configured_dialect="cronie"), table) == wanted
    assert schedule_zone(Home(Path("/x"), configured_dialect="debian"), table) == BERLIN


@given(st.binary())
def test_no_table_is_too_odd_to_have_a_zone(table):
    zone = zone_of_slots(Home(Path("/x"), configured_dialect="cronie"), table)
    assert isinstance(zone, tzinfo)
