"""`maejobs check`, for people and for programs."""

import json
import subprocess
import sys

from conftest import MAEJOBS
from databases import configure

from maejobs.cli import check


def test_a_verdict_for_each_line_whatever_bytes_it_holds():
    lines = b"0 2 * * *\n\nfri-sun\n\xff\0\t\x1b\n@daily\r\n* * * * *"
    command = [sys.executable, "-m", "maejobs", "check", "-", "--json", "--dialect", "debian"]
    done = subprocess.run(command, input=lines, capture_output=True, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["valid"] for one in told] == [True, False, False, False, False, True]
    assert done.returncode == 2
    assert told[0]["code"] is told[0]["reason"] is told[0]["column"] is None
    assert told[1]["code"] == "too_few_fields"
    assert told[0]["description"] == "at 02:00 every day"


def test_all_fires_of_a_window_are_told_as_epoch_seconds(inside):
    day = ("--from", "2026-03-29", "--until", "2026-03-30", "--timezone", "Europe/Berlin")
    done = inside("check", "30 2 * * *", *day, "--json")
    assert json.loads(done.stdout)["fires"] == [1774746000]  # 03:00, after the gap


def test_every_verdict_has_the_same_keys(inside):
    window = ("--from", "2026-03-29", "--until", "2026-03-30")
    for options in ((), window):
        printed = inside("check", "0 2 * * *", "0 2 * 13 *", "--json", *options).stdout
        good, bad = map(json.loads, printed.splitlines())
        assert good.keys() == bad.keys()
        assert (good["pointed"], bad["next"]) == (None, [])


def test_a_zone_may_be_told_by_its_rule(inside):
    rule = "CET-1CEST,M3.5.0,M10.5.0/3"
    day = ("--from", "2026-03-29", "--until", "2026-03-30", "--timezone", rule)
    done = inside("check", "30 2 * * *", *day, "--json")
    assert json.loads(done.stdout)["fires"] == [1774746000]  # as in Berlin


def test_a_window_of_more_fires_than_there_is_room_for_is_refused(inside, monkeypatch):
    monkeypatch.setattr(check, "MOST_FIRES", 48)
    hours = ("check", "*/30 * * * *", "--from", "2026-01-01", "--until")
    assert inside(*hours, "2026-01-02").returncode == 0
    done = inside(*hours, "2026-01-02T00:01")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--until: `*/30 * * * *` fires more than 48 times in the window; let" in done.stderr


def test_a_nickname_without_its_sign_is_known(inside):
    (told,) = [json.loads(line) for line in inside("check", "Daily", "--json").stdout.splitlines()]
    assert (told["code"], told["mended"]) == ("too_few_fields", "@daily")


def test_what_is_legal_and_surprising_is_said(inside):
    done = inside("check", "0 0 13 * 5", "--dialect", "debian")
    assert "warning: day of month 13 OR weekday 5" in done.stdout
    assert done.returncode == 0


def test_a_crowded_minute_of_the_crontab_is_told(inside, home):
    table = home.root / "crontab"
    table.write_bytes(b"A=b\n0 2 * * * a\n0 2 * * * b\n0 2 * * fri-sun c\n0 2 * * * d\n@reboot e\n")
    done = inside("check", "0 2 * * *")
    assert "warning: 3 lines of the crontab start at the same minute" in done.stdout
    assert "crontab" not in inside("check", "1 2 * * *").stdout


def test_the_home_names_the_dialect_and_the_option_comes_before_it(inside, home):
    configure(home, 'dialect = "busybox"\n')
    assert inside("check", "@daily").returncode == 2
    assert inside("check", "@daily", "--dialect", "debian").returncode == 0


def test_a_crontab_that_cannot_be_read_changes_no_verdict(inside, home):
    (home.root / "crontab").mkdir()
    done = inside("check", "0 2 * * *")
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_refusal_shows_the_place_and_the_mend(inside):
    done = inside("check", "0 0 * * fri-sun", "--dialect", "debian")
    assert "`fri-sun` never fires: Sunday is 0. Write `fri,sat,sun`\n  0 0" in done.stdout
    assert done.returncode == 2


def test_bad_options_are_one_line(inside):
    for options in (
        ["--timezone", "Mars/X"],
        ["--timezone", ""],
        ["--timezone", "EST5EDT,M3"],
        ["--timezone", "A\nB"],
        ["--from", "soon", "--until", "x"],
        ["--from", "x"],
        ["--from", "0001-01-01", "--until", "2026-01-01"],
        ["--from", "9999-12-31T23:59-05:00", "--until", "9999-12-31"],
        ["--from", "2027-01-02", "--until", "2027-01-01"],
        ["--from", "2027-01-02", "--until", "2027-01-02"],
    ):
        done = inside("check", "@daily", *options)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_a_window_that_begins_right_after_a_gap_or_ends_with_the_calendar(inside):
    options = ("--timezone", "Europe/Berlin", "--dialect", "debian", "--json")
    window = ("--from", "2026-03-29T03:00", "--until", "2026-03-29T04:00")
    told = json.loads(inside("check", "*/15 * * * *", *options, *window).stdout)
    first = 1774746000  # 01:00 UTC
    assert told["fires"] == [first, first + 900, first + 1800, first + 2700]
    window = ("--from", "9990-01-01", "--until", "9999-12-31")
    told = json.loads(inside("check", "0 0 1 1 *", *options, *window).stdout)
    assert len(told["fires"]) == 10


def test_a_byte_that_is_no_text_is_named(home):
    done = subprocess.run(
        [MAEJOBS, "check", "-", "--json", "--home", home.root],
        input=b"0 0 * * \xff\n",
        capture_output=True,
    )
    told = json.loads(done.stdout)
    assert told["expression"] == r"0 0 * * \xff"
    assert "the byte 0xff" in told["reason"]
