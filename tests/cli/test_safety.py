"""What nights leave is private, what others can write is refused, hostile words do nothing."""

import json
import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from databases import away, database_setting
from recorded_runs import a_run
from running import python, shell

from maejobs.home import Home
from maejobs.rundb.database import open_database
from maejobs.rundb.record import write_run
from maejobs.rundb.run import MISSED

QUICK = 'command = ["true"]\n'


@pytest.fixture
def no_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_every_file_that_nights_leave_is_private(
    tmp_path, inside, monkeypatch, no_umask, new_database
):
    url = new_database(migrated=False)
    home = Home(tmp_path / "new" / "home", str(tmp_path / "new" / "home" / "crontab"), url)
    monkeypatch.setenv("MAEJOBS_HOME", str(home.root))
    monkeypatch.setenv("HOME", str(tmp_path))
    home.root.mkdir(parents=True, mode=0o700)
    home.root.parent.chmod(0o700)
    _write(home.config_file, database_setting(url) + 'crontab = "crontab"\n')
    assert inside("init").returncode == 0
    chatty = "echo hello; mkdir -p {run_dir}/out; echo x > {run_dir}/out/artefact; "
    chatty += 'echo \'{{"event": "note", "text": "hi"}}\' >> "$MAEJOBS_EVENTS"; exit 1'
    _write(
        home.jobs_dir / "chatty.toml",
        f"command = {json.dumps(['sh', '-c', chatty])}\nretries = 1\nretry_delay = 0\n"
        'locks = ["gpu0"]\n',
    )
    for expression in ("0 2 * * *", "0 3 * * *"):
        assert inside("schedule", "chatty", expression).returncode == 0
    assert inside("exec", "chatty").returncode == 1
    inside("pause", "chatty", "--reason", "mine")
    assert inside("exec", "chatty").returncode == 75  # its reason goes into a log of its own
    with away(home):
        assert inside("run", "chatty").returncode == 75

    kinds = {path.relative_to(home.root).parts[0] for path in home.root.rglob("*")}
    assert {"runs", "spool", "paused", "locks", "db", "crontab-backups", "crontab"} <= kinds
    assert any(home.spool_dir.iterdir())
    assert list(home.runs_dir.glob("chatty/*/out/artefact"))
    open_to_others = {
        str(path.relative_to(home.root)): oct(path.stat().st_mode)
        for path in (home.root, *home.root.rglob("*"))
        if stat.S_IMODE(path.stat().st_mode) != (0o700 if path.is_dir() else 0o600)
    }
    assert open_to_others == {}


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


@pytest.mark.parametrize("what", ["", "jobs.d", "maejobs.toml", "jobs.d/quick.toml"])
@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_what_others_may_write_is_refused_with_the_mend(home, write_job, inside, what, mode):
    write_job("quick", QUICK)
    place = home.root / what
    place.chmod(mode)

    for arguments in (["run", "quick"], ["schedule", "quick", "@daily"]):
        done = inside(*arguments)

        mend = f"chmod go-w {place}"
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr == (f"maejobs: {place} is writable by others than its owner: `{mend}`\n")
    assert not Path(home.crontab).exists()
    assert not any(home.runs_dir.iterdir())

    subprocess.run(shlex.split(mend), check=True)
    assert inside("run", "quick").returncode == 0


def test_cron_finds_such_a_job_file_in_the_record(home, write_job, inside):
    write_job("quick", QUICK)
    inside("schedule", "quick", "@daily")
    (home.jobs_dir / "quick.toml").chmod(0o666)

    assert inside("exec", "quick").returncode == 2

    (run,) = json.loads(inside("runs", "--json").stdout)
    assert run["state"] == "failed"
    assert "`chmod go-w " in run["reason"]


@pytest.mark.sqlite("its file's mode")
def test_the_database_may_be_opened_to_a_dashboards_group(home, write_job, inside):
    write_job("quick", QUICK)
    home.root.chmod(0o710)
    home.database_file.parent.chmod(0o2770)
    home.database_file.chmod(0o660)

    assert inside("run", "quick").returncode == 0


NAMES = [
    *("a\nb", "a\rb", "a\tb", "a%b", "a'b", 'a"b', "a b", "a;b", "a\\b", "$(id)", "`id`", "#a"),
    *(".", "..", "../x", "/etc/passwd", "a/b", "a/../b", ".hidden", "*", "[a]", "{home}", "~root"),
    *("\x1b[2J", "\x9b2J", "\u202e", "é", "A", "PROBE\n", os.fsdecode(b"\xff"), "a" * 100_000),
]
WITH_A_NAME = [
    ["schedule", "NAME", "0 2 * * *"],
    ["unschedule", "NAME"],
    ["adopt", "NAME", "--line", "1"],
    *([verb, "NAME"] for verb in ("pause", "resume", "run", "exec", "retry", "cancel")),
    *([verb, "NAME"] for verb in ("runs", "show", "logs", "next", "plan")),
]


@pytest.mark.parametrize("command", WITH_A_NAME, ids=lambda command: command[0])
def test_no_name_leaves_the_home_or_a_line_or_a_row(home, inside, snapshot, command):
    Path(home.crontab).write_text("0 5 * * 1 tar %x\n")
    outside = sorted(home.root.parent.iterdir())
    before = snapshot()
    for name in NAMES:
        done = inside(*(name if word == "NAME" else word for word in command))

        assert done.returncode == 2, (name, done)
        assert done.stdout == ""
        assert done.stderr.startswith("maejobs: ")
        assert len(done.stderr) < 1000
        assert done.stderr.removesuffix("\n").isprintable(), done.stderr
    assert snapshot() == before
    assert sorted(home.root.parent.iterdir()) == outside


@pytest.mark.parametrize(
    "expression",
    [
        "0 2 * * *\n* * * * * touch /tmp/evil",
        "0 2 * * *\r* * * * *",
        "0 2 * * * touch evil",
        "0 2 * * *%x",
        "0 2 * * * # x",
        "@daily touch evil",
        "@daily\n@hourly",
        "0 2 * * '*'",
        "0 2 * * $(id)",
        "0 2 * * \x1b[2J",
        "0 2 * * *\u2028",
        "0 2 * *\x0b*",
        "../../etc",
        "0" * 100_000,
        "0 2 * * " + "1," * 50_000,
    ],
    ids=lambda text: repr(text[:30]),
)
def test_no_expression_adds_a_line_or_a_word(home, write_job, inside, expression):
    write_job("quick", QUICK)
    Path(home.crontab).write_text("0 5 * * 1 tar %x\n")

    done = inside("schedule", "quick", expression)

    assert done.returncode == 2
    assert Path(home.crontab).read_text() == "0 5 * * 1 tar %x\n"
    assert done.stdout == ""
    assert all(line.isprintable() for line in done.stderr.splitlines())


@pytest.mark.parametrize(
    "name", ["a\nb", "a\n* * * * * evil", "a\rb", "a\tb", "a\x1b[2Jb", "a\x7fb", "a" * 300]
)
def test_a_home_that_no_line_can_hold_is_refused_and_not_made(inside, tmp_path, name):
    table = tmp_path / "crontab"
    table.write_text("0 5 * * 1 tar\n")

    where = ["--home", str(tmp_path / name), "--crontab", str(table)]
    done = inside("schedule", "pretrain", "0 2 * * *", *where)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.removesuffix("\n").isprintable()
    assert table.read_text() == "0 5 * * 1 tar\n"
    assert {path.name for path in tmp_path.iterdir()} <= {"crontab", "home"}


def test_a_home_of_a_hundred_thousand_letters_is_one_short_line(inside):
    for name in ("a" * 100_000, "a/" * 50_000):
        done = inside("list", "--home", f"/{name}")
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert len(done.stderr) < 1000


def test_values_of_the_environment_arrive_as_they_are_and_stay_out_of_the_crontab(
    home, write_job, inside
):
    hostile = "a\n* * * * * evil\n'\"%$(id)`id`\\ \x1b[2J" + "x" * 100_000
    write_job(
        "env",
        python("import os; open(os.environ['MAEJOBS_RUN_DIR'] + '/seen', 'w').write("
               "os.environ['HOSTILE'])")
        + f"env = {{ HOSTILE = {json.dumps(hostile.replace('{', '{{'))} }}\n",
    )  # fmt: skip

    assert inside("schedule", "env", "0 2 * * *").returncode == 0
    assert inside("run", "env").returncode == 0

    (seen,) = home.runs_dir.glob("env/*/seen")
    assert seen.read_text() == hostile
    assert len(Path(home.crontab).read_text().splitlines()) == 3


@pytest.mark.parametrize("key", ["crontab", "database_url", "dialect"])
def test_a_nul_in_the_configuration_is_bad_input(home, inside, key):
    home.config_file.write_text(f'{key} = "x\\u0000y"\n')

    done = inside("list")

    assert done.returncode == 2
    assert "holds a NUL, which no path or address can" in done.stderr


def test_a_link_among_the_runs_leads_nothing_out_of_the_home(home, inside, tmp_path):
    treasure = tmp_path / "elsewhere" / "run-1"
    treasure.mkdir(parents=True)
    (treasure / "log").write_text("mine")
    os.utime(treasure / "log", (0, 0))
    (home.runs_dir / "linked").symlink_to(treasure.parent)
    (home.runs_dir / "real").mkdir()
    (home.runs_dir / "real" / "run-1").symlink_to(treasure)

    inside("keep", "cleanup", "--max-age", "1d", "--max-size", "0")

    assert (treasure / "log").read_text() == "mine"


EVIL = "\x1b[2J\x1b]0;owned\x07\x9b5m\u202e[bold]x[/bold]\nstate  succeeded"


def test_no_note_reason_or_name_drives_the_terminal_or_passes_for_a_line_of_ours(
    home, inside, terminal
):
    evil = a_run("quick", state=MISSED, reason=EVIL, outcome=EVIL, command=["sh", EVIL])
    directory = home.runs_dir / "quick" / evil.id
    directory.mkdir(parents=True)
    evil.directory = str(directory)
    stream = directory / "events.jsonl"
    events = [
        {"event": "note", "text": EVIL},
        {"event": "metric", "name": EVIL, "step": 1, "value": 1.0},
        {"event": "checkpoint", "path": EVIL, "step": 1},
        {"event": EVIL, "x": 1},
    ]
    stream.write_text("".join(json.dumps(event) + "\n" for event in events))
    with open_database(home) as engine:
        from maejobs.rundb.ingest import ingest

        write_run(engine, evil)
        ingest(engine, evil.id, stream)
    (home.jobs_dir / f"{EVIL.replace('/', '')}.toml").write_text(QUICK)

    for arguments in (["show", "quick"], ["runs"], ["status"], ["jobs"], ["doctor"], ["logs", "x"]):
        done = inside(*arguments)
        for line in (done.stdout + done.stderr).splitlines():
            assert line.isprintable(), (arguments, line)
            assert not line.startswith("state  succeeded"), arguments
    screen = terminal("show", "quick")
    screen.end()
    assert "\\x1b[2J" in screen.text
    assert "\x1b[2J" not in screen.text
    assert "\x07" not in screen.text


def test_a_metric_cannot_drive_the_terminal_of_a_run_in_the_foreground(home, write_job, terminal):
    event = json.dumps({"event": "metric", "name": f"{EVIL}[/nothing]", "value": 1.0, "step": 1})
    tell = f'printf "%s\\n" {shlex.quote(event)} >> "$MAEJOBS_EVENTS"'
    write_job("rude", shell(f'{tell}; until test -e "$MAEJOBS_HOME/seen"; do sleep 0.1; done'))

    screen = terminal("run", "rude", columns=200)
    screen.wait_for("\\x1b[2J")
    (home.root / "seen").touch()

    assert screen.end() == 0
    assert "\x1b[2J" not in screen.text
    assert "\\x1b[2J" in screen.text
