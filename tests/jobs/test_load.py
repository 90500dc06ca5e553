"""Job files: read whole, refused with every error at once, each on its line."""

import subprocess
from datetime import time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.errors import UserError
from maejobs.jobs.failures import NEVER_TRIED_AGAIN, TRIED_AGAIN, WOULD_HAPPEN_AGAIN
from maejobs.jobs.load import BadJobFile, job_names, line_of, load_job, parse_job
from maejobs.jobs.model import HostNeed, Job
from maejobs.shipped import shipped

PATH = Path("jobs.d/night.toml")
GOOD = 'command = ["true"]\n'
SHIPPED = ["backup", "cleanup", "evaluate", "finetune", "linear", "pretrain", "rotate"]


def problems_of(text: str) -> list[tuple[int, str]]:
    with pytest.raises(BadJobFile) as raised:
        parse_job(PATH, "night", text)
    return [(problem.line, problem.text) for problem in raised.value.problems]


def test_we_ship_seven_jobs():
    assert job_names(shipped("jobs.d")) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_job_we_ship_loads_and_says_what_it_is_for(name):
    job = load_job(shipped("jobs.d"), name)
    assert job.name == name
    assert job.summary
    assert job.schedule


def test_a_file_dropped_into_the_directory_is_a_job(home, write_job):
    write_job("my-own_2", 'command = ["/bin/sh", "-c", "echo hello"]\n')
    assert job_names(home.jobs_dir) == ["my-own_2"]
    assert load_job(home.jobs_dir, "my-own_2").command == ["/bin/sh", "-c", "echo hello"]


def test_a_file_that_says_only_its_command_gets_the_defaults():
    job = parse_job(PATH, "night", GOOD)
    assert (job.schedule, job.until, job.timeout, job.disk) == (None, None, None, None)
    assert (job.overlap, job.retries, job.nice) == ("skip", 0, 0)
    assert (job.infrastructure_retries, job.retry) == (2, list(TRIED_AGAIN))
    assert job.grace == timedelta(seconds=30)
    assert job.late_after == timedelta(minutes=10)


def test_every_key_is_read():
    job = parse_job(
        PATH,
        "night",
        """
        summary = "One night"
        command = ["{python}", "-m", "mine", "--out", "{run_dir}"]
        schedule = "0 2 * * *"
        until = 06:00:00
        timeout = "5h"
        grace = 20
        overlap = "wait"
        stall_after = "15m"
        wait = "10m"
        locks = ["store"]
        retries = 2
        infrastructure_retries = 5
        retry = ["exit_code", "diverged"]
        retry_delay = "5m"
        late_after = "1h"
        catch_up = "latest"
        catch_up_within = "6h"
        nice = 10
        log_limit = "10MB"
        env = { DATA = "{home}/data" }
        env_file = "{home}/secrets"
        disk = { path = "{home}", free = "1.5GB", checkpoints = 2 }
        host = { load = 1.5, battery = 0.3, wait = "30m" }
        gpu = { count = 2, free = "20GB", wait = "30m" }
        notify = { alert_after = 2, on = ["lost"], ping = "https://h/x", log_lines = 0 }
        """,
    )
    assert set(Job.model_fields) == job.model_fields_set
    assert job.retry == ["exit_code", "diverged"]
    assert job.until == time(6)
    assert job.grace == timedelta(seconds=20)
    assert job.disk is not None
    assert job.disk.free == 1_500_000_000
    assert job.host == HostNeed(load=1.5, battery=0.3, wait=timedelta(minutes=30))


def test_every_error_of_a_file_is_reported_at_once_with_its_line():
    assert problems_of(
        """# a night
sumary = "typo"
command = ["sh", "{hom}"]
until = "25:00"
timeout = "soon"
overlap = "sometimes"
locks = ["GPU 0"]
retries = 21
nice = true

[disk]
path = "{home}"
fre = "1GB"

[env]
MAEJOBS_HOME = "/elsewhere"
"2fast" = "x"
"""
    ) == [
        (2, "unknown key sumary; did you mean summary?"),
        (3, "command[1]: unknown placeholder {hom}; known: {home}"),
        (4, "until: '25:00' is not a time of day; write it like \"06:30\""),
        (5, "timeout: 'soon' is not a duration; write it like 90s, 45m, 1h30m or 7d"),
        (6, "overlap: 'sometimes' is none of 'skip', 'wait' or 'replace'"),
        (7, "locks[0]: 'GPU 0' is not a lock name; use lower-case letters, digits, - and _"),
        (8, "retries: input should be less than or equal to 20, not 21"),
        (9, "nice: input should be a valid integer, not True"),
        (13, "unknown key disk.fre; did you mean free?"),
        (
            16,
            "env.MAEJOBS_HOME: MAEJOBS_HOME is set by maejobs itself; "
            "choose a name without MAEJOBS_",
        ),
        (17, "env.2fast: '2fast' is not the name of an environment variable"),
    ]


@pytest.mark.parametrize("text", ['"0s"', '"59s"', "0", "59.9"])
def test_no_slot_is_late_within_its_own_minute(text):
    why = "late_after: must be at least 1m: cron starts a run at some time within its minute"
    assert problems_of(GOOD + f"late_after = {text}\n") == [(2, why)]


def test_a_class_of_failures_that_is_none_is_answered_with_the_nearest_one():
    assert problems_of(GOOD + 'retry = [\n  "signal",\n  "oomkilled",\n]\n') == [
        (2, "retry[1]: 'oomkilled' is no class of failures; did you mean oom_killed?")
    ]
    ((_, text),) = problems_of(GOOD + 'retry = ["xyzzy"]\n')
    assert all(name in text for name in (*TRIED_AGAIN, *WOULD_HAPPEN_AGAIN))


@pytest.mark.parametrize("name", NEVER_TRIED_AGAIN)
def test_a_class_that_is_never_tried_again_cannot_be_asked_for(name):
    ((line, text),) = problems_of(GOOD + f'retry = ["{name}"]\n')
    assert (line, text.startswith(f"retry[0]: what ends as {name} is never tried again: ")) == (
        2,
        True,
    )


def test_limits_that_no_run_could_keep_are_refused():
    assert problems_of(GOOD + 'stall_after = "0.2s"\nlog_limit = "4kB"\n') == [
        (2, "stall_after: must be at least a second; leave it out for no such limit"),
        (3, "log_limit: input should be greater than or equal to 1000000, not '4kB'"),
    ]


@pytest.mark.parametrize("key", ["timeout", "catch_up_within"])
@pytest.mark.parametrize("value", ["0", '"0s"', "1e-9"])
def test_a_time_in_which_no_run_could_be_is_refused(key, value):
    assert problems_of(GOOD + f"{key} = {value}\n") == [
        (2, f"{key}: must be more than 0s, or be left out")
    ]


def test_a_table_that_asks_for_nothing_or_too_much_is_refused():
    assert problems_of(GOOD + 'disk = { path = "x" }\nhost = { wait = "1m" }\n') == [
        (2, "disk: say how much room is needed, as free, checkpoints or both"),
        (3, "host: say what to look at: load, battery or both"),
    ]
    assert problems_of(GOOD + "[disk]\nfree = 1\n[host]\nload = 0\nbatery = 1.5\n") == [
        (2, "disk.path is missing"),
        (5, "host.load: input should be greater than 0, not 0"),
        (6, "unknown key host.batery; did you mean battery?"),
    ]


def test_a_key_with_a_line_break_is_told_in_one_line():
    ((_, text),) = problems_of(GOOD + '"a\\nb" = 1\n')
    assert text.startswith(r"unknown key a\nb; known keys: ")


def test_a_missing_command_and_a_name_of_its_own_are_both_reported():
    assert problems_of('summary = "x"\nname = "other"\n') == [
        (1, "command is missing"),
        (2, "the file's name is the job's name; drop `name`"),
    ]


def test_a_key_like_no_other_is_answered_with_all_keys():
    ((line, text),) = problems_of(GOOD + "xyzzy = 1\n")
    assert line == 2
    assert all(key in text for key in Job.model_fields if key != "name")


def test_the_message_names_the_file_and_the_line():
    with pytest.raises(BadJobFile, match=r"^jobs.d/night.toml:2: unknown key nise; did you mean"):
        parse_job(PATH, "night", GOOD + "nise = 1\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GOOD + "nice = \n", 2),
        (GOOD + "\nnice = 1\nnice = 2\n", 4),
        (GOOD + 'summary = "', 2),
        (GOOD + "nice = " + "1" * 5000, 2),
        (GOOD + "x = " + "[" * 5000, 1),
    ],
    ids=["no value", "twice", "open string", "thousands of digits", "thousands of brackets"],
)
def test_what_is_not_toml_is_one_problem_with_a_line(text, line):
    ((found, _),) = problems_of(text)
    assert found == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('summary = """\nnice = 1\n[env]\n"""\nnice = 99\n', 5),
        ("summary = '''\nnice = 1\n'''\nnice = 99\n", 4),
        ("locks = [\n  # a list\n  'a',\n]\nnice = 99\n", 5),
        ("summary = 'a\u2028b\u0085c'\nnice = 99\n", 2),
        ('"nice" = 99\n', 1),
        ("\n\n'nice'=99", 3),
        ("locks = [\n  ['x'],\n]\nnice = 99\n", 4),
    ],
)
def test_strings_and_lists_of_several_lines_do_not_confuse_the_count(text, line):
    assert (line, "nice: input should be less than or equal to 19, not 99") in [
        (found - 1, text) for found, text in problems_of(GOOD + text)
    ]


def test_a_long_value_is_not_repeated_in_full():
    ((_, text),) = problems_of(GOOD + f"nice = '{'x' * 10_000}'\n")
    assert len(text) < 300


def test_a_key_is_found_wherever_toml_lets_it_stand():
    text = 'a.b = 1\nc = { d = 2 }\n[e."f g"]\nh = 3\n[[i]]\nj = 4\n'
    places = [("a", "b"), ("c", "d"), ("e", "f g"), ("e", "f g", "h"), ("i",), ("i", "j")]
    assert [line_of(text, place) for place in places] == [1, 2, 3, 4, 5, 6]
    assert line_of(text, ("c", "missing")) == 2
    assert line_of(text, ("nowhere",)) == 1


KEYS = st.sampled_from([*Job.model_fields, "path", "free", "nise", "a b", ""])
SCALARS = st.one_of(
    st.integers(),
    st.booleans(),
    st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])).map(
        lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ),
    st.sampled_from(
        ['"{home}"', '"{"', '"1h"', "inf", "nan", "06:00:00", "2026-01-01", '"\\u0000"']
    ),
).map(lambda value: str(value).lower() if isinstance(value, bool) else str(value))
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3).map(lambda v: f"[{', '.join(v)}]"))
LINES = st.one_of(
    st.tuples(KEYS, VALUES).map(lambda pair: f'"{pair[0]}" = {pair[1]}'),
    KEYS.map(lambda key: f'["{key}"]'),
    st.sampled_from(["# comment", "", 'command = ["true"]']),
)
FILES = st.lists(LINES, max_size=8).map("\n".join)


@given(st.one_of(st.text(), FILES))
def test_any_text_is_a_job_or_a_list_of_problems_on_its_lines(text):
    try:
        assert parse_job(PATH, "night", text).command
        return
    except BadJobFile as error:
        problems = error.problems
    assert problems
    assert all(1 <= problem.line <= text.count("\n") + 1 for problem in problems)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
def test_any_command_that_a_program_can_be_given_can_be_written(word):
    written = word.replace("\\", "\\\\").replace('"', '\\"').replace("{", "{{").replace("}", "}}")
    (command,) = parse_job(PATH, "night", f'command = ["{written}"]').command
    assert command == word.replace("{", "{{").replace("}", "}}")


def test_a_shell_script_is_a_job_that_runs(home, write_job, maejobs):
    script = home.root / "script.sh"
    script.write_text('#!/bin/sh\necho "$1" > "$MAEJOBS_RUN_DIR/made"\n')
    script.chmod(0o700)
    write_job("shell", 'command = ["{home}/script.sh", "by {job}"]\n')
    result = maejobs("run", "shell")
    assert result.returncode == 0, result.stderr
    (made,) = home.runs_dir.glob("shell/*/made")
    assert made.read_text() == "by shell\n"


def test_a_job_that_is_not_there_is_answered_with_the_nearest_one(home, write_job):
    write_job("pretrain", GOOD)
    with pytest.raises(UserError, match="did you mean pretrain"):
        load_job(home.jobs_dir, "pretrian")
    with pytest.raises(UserError, match="jobs there: pretrain"):
        load_job(home.jobs_dir, "xyzzy")


def test_where_there_are_no_jobs_the_way_to_some_is_shown(home, tmp_path):
    for directory in (home.jobs_dir, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="maejobs init"):
            load_job(directory, "pretrain")


@pytest.mark.parametrize("name", ["", "..", "../etc/x", "A", "a b", "a\n", "é", "x" * 65, "a\0"])
def test_a_name_that_is_no_job_name_reaches_no_file(home, name):
    with pytest.raises(UserError, match="not a job name"):
        load_job(home.jobs_dir, name)


@pytest.mark.fault
def test_a_file_that_cannot_be_read_is_said_to_be_so(home):
    (home.jobs_dir / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (home.jobs_dir / "directory.toml").mkdir()
    for name in ("binary", "directory"):
        with pytest.raises(UserError, match=rf"{name}.toml(:1)?: cannot be read: [^\[]*$"):
            load_job(home.jobs_dir, name)


def test_a_link_to_nothing_is_told_as_such_and_not_as_no_job(home):
    (home.jobs_dir / "night.toml").symlink_to("/mnt/none/night.toml")
    with pytest.raises(UserError, match=r"night.toml: is a link to '/mnt/none/night.toml', where"):
        load_job(home.jobs_dir, "night")


def test_a_file_whose_name_no_job_can_have_is_told_with_its_place(home, write_job):
    write_job("my job", GOOD)
    with pytest.raises(UserError, match=rf"^{home.jobs_dir}: 'my job' is not a job name"):
        load_job(home.jobs_dir, "my job")


def test_the_mark_that_editors_put_before_utf_8_means_nothing(home):
    (home.jobs_dir / "night.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_job(home.jobs_dir, "night").command


def test_an_editor_s_own_files_are_no_jobs(home, write_job):
    write_job("a", GOOD)
    write_job(".a", GOOD)
    (home.jobs_dir / "a.toml~").write_text(GOOD)
    assert job_names(home.jobs_dir) == ["a"]


def test_the_command_reports_every_error_and_exits_with_2(home, write_job, maejobs):
    write_job("night", "comand = ['x']\nnice = 99\n")
    result: subprocess.CompletedProcess[str] = maejobs("run", "night")
    assert result.returncode == 2
    for words in ("night.toml:1: unknown key comand; did you mean command?", "night.toml:2: nice"):
        assert words in result.stderr


def test_a_job_that_would_wait_for_itself_is_refused(tmp_path):
    text = 'command = ["true"]\nlocks = ["gpu0", "store"]\ngpu = { count = 1 }\n'
    with pytest.raises(BadJobFile, match=r"night\.toml:3: gpu: drop gpu0 from `locks`"):
        parse_job(tmp_path / "night.toml", "night", text)
    parse_job(tmp_path / "night.toml", "night", text.replace("gpu0", "gpus"))
