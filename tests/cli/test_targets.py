"""--crontab and -u: another's crontab and the system's table, behind the host's real `crontab`."""

import json
import os
import subprocess

import pytest
from conftest import MAEJOBS
from databases import database_setting
from private_cron import HOMES, JOE, private_cron  # noqa: F401 (a fixture)

THEIRS = b"# joe's\n0 5 * * 1 tar \\%\n"
QUICK = 'command = ["true"]\n'


@pytest.fixture
def maejobs_inside(private_cron):  # noqa: F811
    def run(*arguments):
        return private_cron.run([MAEJOBS, *arguments])

    return run


@pytest.fixture
def joes_home(private_cron, maejobs_inside, new_database):  # noqa: F811
    """A home of joe's, with the job `quick`, as it is called inside."""
    root = private_cron.homes / "joe" / "mae"
    private_cron.let_everybody_run_maejobs()
    root.mkdir()
    (root / "maejobs.toml").write_text(database_setting(new_database(migrated=False)))
    assert maejobs_inside("init", "--home", f"{HOMES}/joe/mae").returncode == 0
    (root / "jobs.d" / "quick.toml").write_text(QUICK)
    _give_to_joe(root)
    return f"{HOMES}/joe/mae"


def _give_to_joe(root):
    for path in (root, *root.rglob("*")):
        os.chown(path, JOE, JOE)


def _foreign_files(private_cron):  # noqa: F811
    home = private_cron.homes / "joe"
    return [path for path in home.rglob("*") if path.stat().st_uid != JOE]


def test_list_of_another_user_is_what_crontab_says(private_cron, maejobs_inside):  # noqa: F811
    for table in (None, THEIRS):
        if table is not None:
            private_cron.run(["crontab", "-u", "joe", "-"], input=table)
        theirs = private_cron.run(["crontab", "-u", "joe", "-l"])
        for spec in (["-u", "joe"], ["--crontab", "user:joe"]):
            ours = maejobs_inside("list", *spec)
            assert (ours.stdout, ours.stderr, ours.returncode) == (
                theirs.stdout,
                theirs.stderr,
                theirs.returncode,
            )


def test_a_line_goes_into_anothers_crontab_and_comes_out(
    private_cron,  # noqa: F811
    maejobs_inside,
    joes_home,
):
    private_cron.run(["crontab", "-u", "joe", "-"], input=THEIRS)
    done = maejobs_inside("schedule", "-u", "joe", "quick", "0 2 * * *", "--home", joes_home)
    assert done.returncode == 0, done.stderr
    assert b"not noted" not in done.stderr
    table = private_cron.run(["crontab", "-u", "joe", "-l"]).stdout
    assert table.startswith(THEIRS)
    assert f"exec quick --home {joes_home} # maejobs:quick".encode() in table
    assert b"no crontab" in private_cron.run(["crontab", "-l"]).stderr
    assert _foreign_files(private_cron) == []

    done = maejobs_inside("unschedule", "-u", "joe", "quick", "--home", joes_home)
    assert done.returncode == 0, done.stderr
    assert private_cron.run(["crontab", "-u", "joe", "-l"]).stdout == THEIRS
    assert _foreign_files(private_cron) == []


def test_a_line_that_joe_made_for_his_default_home_is_found_by_root(
    private_cron,  # noqa: F811
    maejobs_inside,
):
    root = private_cron.homes / "joe" / ".local/share/maejobs"
    private_cron.let_everybody_run_maejobs()
    (root / "jobs.d").mkdir(parents=True)
    (root / "jobs.d" / "quick.toml").write_text(QUICK)
    _give_to_joe(private_cron.homes / "joe")
    line = f"{{}} {MAEJOBS} exec quick # maejobs:quick".format
    block = "# >>> maejobs >>>\n{}\n# <<< maejobs <<<\n".format
    private_cron.run(["crontab", "-u", "joe", "-"], input=block(line("0 2 * * *")).encode())
    place = ["-u", "joe", "--home", f"{HOMES}/joe/.local/share/maejobs"]
    done = maejobs_inside("schedule", "quick", "0 3 * * *", *place)
    assert done.stdout.decode().splitlines()[-1] == "rescheduled quick: 0 2 * * * → 0 3 * * *"
    table = private_cron.run(["crontab", "-u", "joe", "-l"]).stdout.decode()
    assert [text for text in table.splitlines() if "quick" in text] == [line("0 3 * * *")]


def test_a_home_of_mine_is_no_business_of_joes_cron(home, write_job, private_cron, maejobs_inside):  # noqa: F811
    write_job("quick", QUICK)
    for command in (["schedule", "quick", "@daily"], ["apply", "--yes"]):
        done = maejobs_inside(*command, "-u", "joe", "--home", home.root)
        assert done.returncode == 2
        assert done.stderr.count(b"\n") == 1
        assert b"belongs to root" in done.stderr
        assert b"--home" in done.stderr
    assert private_cron.run(["crontab", "-u", "joe", "-l"]).returncode == 1


def test_root_makes_no_home_in_anothers_directory(private_cron, maejobs_inside):  # noqa: F811
    missing = f"{HOMES}/joe/none"
    for spec in (["-u", "joe"], ["--crontab", "system"]):
        done = maejobs_inside("schedule", *spec, "pretrain", "@daily", "--home", missing)
        assert done.returncode == 2
        assert b"joe makes it with `maejobs init`" in done.stderr
    assert not (private_cron.homes / "joe" / "none").exists()


def test_root_at_joes_home_is_joe(private_cron, maejobs_inside, joes_home):  # noqa: F811
    root = private_cron.homes / "joe" / "mae"
    with (root / "maejobs.toml").open("a") as settings:
        settings.write('crontab = "crontab"\n')
    (root / "jobs.d" / "who.toml").write_text('command = ["sh", "-c", "id -u; echo $HOME"]\n')
    _give_to_joe(root)
    there = ["--home", joes_home]

    done = maejobs_inside("run", "who", *there)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[:2] == [str(JOE).encode(), f"{HOMES}/joe".encode()]
    for command in (
        *(["schedule", "who", "@daily"], ["pause", "who"], ["exec", "who"], ["reconcile"]),
        *(["status"], ["doctor"], ["init"], ["unschedule", "who"]),
    ):
        assert b"rror" not in maejobs_inside(*command, *there).stderr
    assert (root / "crontab").exists()
    assert _foreign_files(private_cron) == []


@pytest.mark.parametrize("file", ["maejobs.toml", "jobs.d/quick.toml", "secrets"])
def test_root_reads_nothing_for_joe_that_joe_could_not(
    private_cron,  # noqa: F811
    maejobs_inside,
    joes_home,
    file,
):
    treasure = private_cron.homes / "root" / "treasure"
    treasure.write_text("TREASURE=1\n")
    treasure.chmod(0o600)
    root = private_cron.homes / "joe" / "mae"
    (root / "jobs.d" / "other.toml").write_text(QUICK + 'env_file = "secrets"\n')
    (root / file).unlink(missing_ok=True)
    (root / file).symlink_to(f"{HOMES}/root/treasure")
    os.lchown(root / file, JOE, JOE)

    for command in (["doctor"], ["doctor", "-u", "joe"], ["plan", "-u", "joe"], ["jobs"]):
        done = maejobs_inside(*command, "--home", joes_home)
        assert b"TREASURE" not in done.stdout + done.stderr
        assert b"line 1" not in done.stdout + done.stderr  # nor was it read and found wanting
    assert b"Permission denied" in maejobs_inside("doctor", "--home", joes_home).stdout or (
        b"Permission denied" in maejobs_inside("doctor", "--home", joes_home).stderr
    )


def test_root_runs_nothing_of_a_user_without_a_name(private_cron, maejobs_inside, joes_home):  # noqa: F811
    root = private_cron.homes / "joe" / "mae"
    for path in (root, *root.rglob("*")):
        os.chown(path, 54321, 54321)
    done = maejobs_inside("run", "quick", "--home", joes_home)
    assert done.returncode == 2
    assert b"belongs to user number 54321, who has no name on this host" in done.stderr
    assert not any((root / "runs").iterdir())


def test_two_daemons_of_roots_do_not_serve_one_table_of_joes(
    private_cron,  # noqa: F811
    maejobs_inside,
    joes_home,
):
    serve = ["daemon", "--force", "-u", "joe", "--home", joes_home]
    with subprocess.Popen(private_cron.command(MAEJOBS, *serve), stdout=subprocess.PIPE) as first:
        try:
            assert b"started" in first.stdout.readline()
            second = maejobs_inside(*serve)
        finally:
            first.terminate()
    assert second.returncode == 2
    assert b"another maejobs daemon serves the crontab of joe" in second.stderr
    assert _foreign_files(private_cron) == []


@pytest.mark.parametrize("spec", ["user", "system"])
def test_a_table_without_a_final_newline_is_given_one(private_cron, maejobs_inside, home, spec):  # noqa: F811
    place = "crontabs/root" if spec == "user" else "cron.d/maejobs"
    line = b"0 5 * * 1 tar" if spec == "user" else b"0 5 * * 1 root tar"
    (private_cron.spool / place).write_bytes(line)
    where = ["--crontab", spec, "--home", home.root]
    (home.jobs_dir / "quick.toml").write_text(QUICK)
    for command in (["schedule", "quick", "@daily"], ["unschedule", "quick"]):
        done = maejobs_inside(*command, *where)
        assert done.returncode == 0, done.stderr
    assert maejobs_inside("list", *where).stdout == line + b"\n"


def test_a_user_who_is_not_there_is_told(maejobs_inside):
    for command in (["list"], ["schedule", "quick", "@daily"]):
        done = maejobs_inside(*command, "-u", "nobody-here")
        assert done.returncode == 2
        assert b"there is no user 'nobody-here'" in done.stderr


def test_a_line_of_the_system_table_runs_as_whose_home_it_is(
    private_cron,  # noqa: F811
    maejobs_inside,
    joes_home,
):
    place = ["--crontab", "system", "--home", joes_home]
    file = private_cron.spool / "cron.d" / "maejobs"
    assert maejobs_inside("list", *place).returncode == 1
    done = maejobs_inside("schedule", "quick", "0 2 * * *", *place)
    assert done.returncode == 0, done.stderr
    assert file.stat().st_mode & 0o7777 == 0o644
    assert file.stat().st_uid == 0
    _, line, _ = file.read_text().splitlines()
    assert line == f"0 2 * * * joe {MAEJOBS} exec quick --home {joes_home} # maejobs:quick"

    listed = maejobs_inside("list", *place)
    assert (listed.stdout, listed.stderr, listed.returncode) == (file.read_bytes(), b"", 0)
    job = json.loads(maejobs_inside("list", "--json", *place).stdout)["lines"][1]
    assert (job["number"], job["kind"], job["user"]) == (2, "job", "joe")
    assert _foreign_files(private_cron) == []

    assert maejobs_inside("unschedule", "quick", *place).returncode == 0
    assert not file.exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.chmod(0o664), b"`chmod 644 /etc/cron.d/maejobs` mends it"),
        (lambda file: os.chown(file, JOE, JOE), b"is not root's, so cron ignores it"),
        (lambda file: (file.rename(f"{file}2"), file.symlink_to(f"{file}2")), b"a symbolic link"),
    ],
    ids=["group may write", "joe's", "a link"],
)
def test_a_system_table_that_cron_would_not_read_is_refused(
    private_cron,  # noqa: F811
    maejobs_inside,
    joes_home,
    spoil,
    said,
):
    file = private_cron.spool / "cron.d" / "maejobs"
    file.write_bytes(b"0 5 * * 1 root tar\n")
    spoil(file)
    done = maejobs_inside("schedule", "quick", "@daily", "--crontab", "system", "--home", joes_home)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert file.read_bytes() == b"0 5 * * 1 root tar\n"


def test_for_programs_each_line_is_taken_apart(private_cron, maejobs_inside):  # noqa: F811
    table = b"# caf\xe9\nMAILTO=joe\n\n0 5 * * 1 cat%in\xe9\n"
    private_cron.run(["crontab", "-"], input=table)
    told = json.loads(maejobs_inside("list", "--json", "--crontab", "user").stdout)
    assert told["lines"] == [
        {"number": 1, "kind": "comment"},
        {"number": 2, "kind": "environment", "name": "MAILTO", "value": "joe"},
        {"number": 3, "kind": "blank"},
        {
            "number": 4,
            "kind": "job",
            "expression": "0 5 * * 1",
            "command": "cat",
            "stdin": "in\\xe9\n",
        },
    ]
