"""The digest: what it says of a night, in text and in HTML, and what it asks for."""

import json
import re
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from keep.campaigns import tear, write_campaign
from recorded_runs import a_run

from maejobs import clock
from maejobs.digest.campaigns import backups, campaign_of, safety_of
from maejobs.digest.facts import Coming, Digest, Picture, RunFact, Safety, headline, to_do
from maejobs.digest.gather import gather, run_facts
from maejobs.digest.html import as_html
from maejobs.digest.pictures import LARGEST, PNG, read_picture
from maejobs.digest.text import as_text
from maejobs.rundb.database import open_database
from maejobs.rundb.ingest import ingest
from maejobs.rundb.record import write_run

NOW = datetime(2026, 11, 24, 6, 5, tzinfo=UTC)


def a_fact(job: str = "pretrain", state: str = "succeeded", **fields) -> RunFact:
    begin = NOW - timedelta(hours=4, minutes=5)
    values = {
        "run": f"{job}-1", "job": job, "state": state, "why": "", "slot": begin,
        "started": begin, "finished": NOW - timedelta(minutes=5), "step": 300,
        "total_steps": 1200, "tries": 1,
    }  # fmt: skip
    return RunFact(**values | fields)


def a_digest(*runs: RunFact, **fields) -> Digest:
    safety = (Safety("main", 300, (), "/nas/main", 300),)
    values = {"runs": runs or (a_fact(),), "safety": safety, "coming": (), "problems": ()}
    rest = {"alerts": (), "unsent": 0, "trouble": ()}
    return Digest("host", NOW - timedelta(days=1), NOW, UTC, **values | rest | fields)


def test_a_good_night_says_so_in_one_line():
    digest = a_digest()
    assert to_do(digest) == []
    assert headline(digest) == "1 of 1 runs succeeded; all is well"
    text = as_text(digest)
    assert "pretrain  Tue 24 Nov 02:00–06:00  succeeded  300 of 1,200 (25 %)" in text
    assert "main  step 300 is valid  step 300 is copied to /nas/main" in text


@pytest.mark.parametrize(
    ("digest", "words"),
    [
        (a_digest(a_fact(state="failed", why="exit code 1")), "pretrain: failed (exit code 1)"),
        (a_digest(a_fact(state="missed", started=None, finished=None)), "pretrain: missed"),
        (a_digest(safety=(Safety("main", None, (), None, None),)), "no valid checkpoint"),
        (a_digest(safety=(Safety("main", 1, ("step-2",), None, None),)), "step-2 is damaged"),
        (a_digest(safety=(Safety("main", 1, (), "/nas", None),)), "no valid copy in /nas"),
        (a_digest(trouble=("run database: gone",)), "cannot be read: run database: gone"),
        (a_digest(unsent=2), "2 alerts or pings are not taken"),
    ],
)
def test_what_asks_for_a_person_stands_first(digest, words):
    assert words in to_do(digest)[0]
    assert as_text(digest).index(words) < as_text(digest).index("Did it run?")


def test_a_job_that_went_well_in_the_end_asks_for_nobody():
    assert to_do(a_digest(a_fact(state="failed"), a_fact(run="pretrain-2"))) == []
    assert to_do(a_digest(a_fact(state="skipped", started=None), a_fact())) == []


@pytest.mark.parametrize(
    ("state", "why", "told"),
    [
        ("skipped", "disk_low", ["pretrain did not run: skipped (disk_low)"]),
        ("skipped", "paused", []),
        ("unknown", "", ["pretrain did not run: maejobs was not there"]),
    ],
)
def test_a_night_in_which_a_job_came_to_nothing_is_not_all_well(state, why, told):
    assert to_do(a_digest(a_fact(state=state, why=why, started=None, finished=None))) == told


def test_what_runs_each_minute_takes_a_line_and_hides_nothing():
    often = [a_fact("often", run=f"often-{n}") for n in range(1440)]
    often[7] = a_fact("often", "failed", run="often-7")
    text = as_text(a_digest(*often, a_fact(state="failed")))
    lines = [line.split() for line in text.splitlines()]
    assert ["often", "1,440", "runs", "1,439", "succeeded,", "1", "failed"] in lines
    assert sum(line[:1] == ["often"] for line in lines) == 2
    assert "pretrain: failed" in text


def test_of_a_slot_the_last_try_is_told_with_how_many_there_were():
    first = a_run(state="failed", finished=NOW)
    second = a_run(state="succeeded", attempt=2, finished=NOW)
    rows = [_row(run) for run in (second, first)]
    (fact,) = run_facts(rows)
    assert (fact.state, fact.tries) == ("succeeded", 2)


def test_what_a_command_calls_its_outcome_is_told_in_short():
    run = a_run(state="failed", finished=NOW, outcome="x" * 99_999)
    assert len(run_facts([_row(run)])[0].why) == 500


def _row(run):
    run.step = run.total_steps = None
    return run


def test_what_a_command_says_of_itself_is_shown_and_not_obeyed():
    nasty = a_fact(why="<script>alert(1)</script>\x1b[2J\u202e\ud800", job="x")
    digest = a_digest(nasty, pictures=(Picture("x-1", "\u202e<b>\x1b", PNG),))
    html, text = as_html(digest), as_text(digest)
    assert "<script>" not in html
    assert "<b>" not in html
    for nasty_one in ("\x1b", "\u202e", "\ud800"):
        assert nasty_one not in html + text


def test_html_needs_nothing_besides_and_holds_the_pictures():
    picture = Picture("pretrain-1", "loss", PNG + b"data")
    html = as_html(replace(a_digest(), pictures=(picture,)))
    assert f'src="data:image/png;base64,{b64encode(picture.data).decode()}"' in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert html.startswith("<!doctype html>")


def test_what_comes_and_what_collides_is_told():
    coming = Coming("pretrain", NOW + timedelta(hours=20), NOW + timedelta(hours=24))
    text = as_text(a_digest(coming=(coming,), problems=("evaluate would be skipped",)))
    assert "pretrain  Wed 25 Nov 02:05  until 06:05" in text
    assert "evaluate would be skipped" in text


def test_what_comes_each_minute_is_one_line_and_hides_no_night(inside, write_job):
    for job in ("beat", "night"):
        write_job(job, 'command = ["true"]\n')
    inside("schedule", "beat", "* * * * *")
    inside("schedule", "night", "0 2 * * *")
    told = json.loads(inside("digest", "--json").stdout)["coming"]
    assert {one["job"]: one["times"] for one in told} == {"beat": 24 * 60, "night": 1}
    assert len(told) == 2
    coming = inside("digest").stdout.partition("What comes?")[2].partition("\n\n")[0]
    assert re.search(r"beat .* the first of 1,440 within a day\n", coming)
    assert re.search(r"night .* 02:00", coming)


@pytest.mark.parametrize(
    ("name", "content", "taken"),
    [
        ("a.png", PNG + b"x", True),
        ("a.png", b"root:x:0:0", False),
        ("a.txt", PNG, False),
        ("a.png", PNG + bytes(LARGEST), False),
    ],
)
def test_only_pictures_are_taken_for_pictures(tmp_path, name, content, taken):
    (tmp_path / name).write_bytes(content)
    assert (read_picture(tmp_path / name) is not None) is taken
    (tmp_path / "link.png").symlink_to(tmp_path / name)
    assert read_picture(tmp_path / "link.png") is None
    assert read_picture(tmp_path / "none.png") is None
    assert read_picture(Path("a\0.png")) is None


def test_a_campaign_is_as_safe_as_its_files_say(tmp_path):
    campaign = write_campaign(tmp_path / "main", 1, 2, 3)
    copies = write_campaign(tmp_path / "nas" / "main", 1, 2)
    assert safety_of(campaign, tmp_path / "nas") == Safety("main", 3, (), str(copies), 2)
    tear(campaign, 1)
    tear(campaign, 3)
    assert safety_of(campaign, None) == Safety("main", 2, ("step-000000003",), None, None)
    assert campaign_of(str(campaign / "checkpoints" / "step-000000003")) == campaign
    assert campaign_of("/somewhere/else.pt") is None


@pytest.mark.parametrize(
    "words",
    [
        "keep backup --verify {home}/main /nas",
        "keep backup --keep 3 {home}/main /nas",
        "--home {home} keep --home {home} backup {home}/main --keep=3 /nas --keep 3",
    ],
)
def test_where_a_campaign_is_copied_to_is_what_a_job_says(home, write_job, words):
    write_job("copies", f"command = {json.dumps(['{maejobs}', *words.split()])}")
    write_job("broken", "command = 3")
    assert backups(home) == {(home.root / "main").resolve(): [Path("/nas")]}


def test_a_campaign_whose_links_lead_round_in_a_circle_ends_no_digest(home, write_job):
    loop = home.root / "loop"
    loop.symlink_to("loop")
    write_job("copies", f'command = ["{{maejobs}}", "keep", "backup", "{loop}", "/nas"]')
    assert list(backups(home).values()) == [[Path("/nas")]]


def test_of_a_campaign_that_is_copied_to_two_places_both_are_told(home, write_job, tmp_path):
    campaign = write_campaign(home.root / "main", 1)
    write_campaign(tmp_path / "near" / "main", 1)
    for name, place in (("a-far", tmp_path / "far"), ("b-near", tmp_path / "near")):
        words = ["{maejobs}", "keep", "backup", str(campaign), str(place)]
        write_job(name, f"command = {json.dumps(words)}")
    run = a_run(state="succeeded", queued=clock.now(), started=clock.now(), finished=clock.now())
    with open_database(home) as engine:
        write_run(engine, run)
        line = {"event": "checkpoint", "path": str(campaign / "checkpoints" / "step-000000001")}
        (home.root / "events").write_text(json.dumps(line) + "\n")
        ingest(engine, run.id, home.root / "events")
    digest = gather(home, clock.now() - timedelta(days=1))
    assert [(one.backup, one.backup_step) for one in digest.safety] == [
        (str(tmp_path / "far" / "main"), None),
        (str(tmp_path / "near" / "main"), 1),
    ]
    assert f"main has no valid copy in {tmp_path / 'far' / 'main'}" in to_do(digest)
    tear(campaign, 1)
    told = to_do(gather(home, clock.now() - timedelta(days=1)))
    assert told.count("main has no valid checkpoint") == 1
