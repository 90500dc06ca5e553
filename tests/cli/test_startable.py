"""`jobs` and `doctor` find what would keep a good-looking job from starting at night."""

import json

import pytest

MISTAKES = {
    "a schedule that never is": ('command = ["true"]\nschedule = "0 2 * 13 *"\n', 2,
                                 "schedule: bad month: 13 is outside 1–12"),
    "no such program": ('summary = ""\ncommand = ["trian"]\n', 2,
                        "command: trian cannot be started: it is not on the run's PATH"),
    "no such file": ('command = ["/no/such/program"]\n', 1,
                     "command: /no/such/program cannot be started: there is no such file"),
    "not executable": ('command = ["{home}/maejobs.toml"]\n', 1,
                       "/maejobs.toml cannot be started: it is not executable"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_file_and_line(home, write_job, inside, text, line, words):
    write_job("night", text)
    done = inside("jobs")
    assert done.returncode == 2
    assert f"{home.jobs_dir}/night.toml:{line}: " in done.stderr
    assert words in done.stderr
    assert "night" in done.stdout
    (job,) = json.loads(inside("jobs", "--json").stdout)
    assert job["name"] == "night"
    assert words in job["problem"]
    doctor = inside("doctor")
    assert doctor.returncode == 1
    assert any(
        shown.startswith("bad      job night: ") and words in shown
        for shown in doctor.stdout.splitlines()
    )


@pytest.mark.parametrize("program", ["/no/sekrit-zz/program", "sekrit-zz"])
def test_a_secret_in_the_programs_path_is_told_to_nobody(write_job, inside, program):
    write_job("night", f'command = ["{program}"]\nenv = {{ API_KEY = "sekrit-zz" }}\n')
    told = "".join(inside(*words).stdout for words in (["jobs", "--json"], ["doctor"]))
    told += inside("jobs").stderr
    assert told.count("*** cannot be started" if "/" not in program else "no/***/program can") == 3
    assert "sekrit" not in told


def test_what_the_run_will_find_is_found(home, write_job, inside, script, tmp_path):
    (home.root / "bin").mkdir()
    (home.root / "bin" / "mine").symlink_to(script("true"))
    write_job("ours", 'command = ["maejobs", "list"]\n')
    write_job("own-path", 'command = ["mine"]\nenv = { PATH = "{home}/bin" }\n')
    write_job("placed", 'command = ["{home}/bin/mine"]\n')
    write_job("late", 'command = ["{run_dir}/made-later"]\n')
    done = inside("jobs")
    assert (done.returncode, done.stderr) == (0, "")


def test_programs_are_told_durations_in_seconds(write_job, inside):
    write_job("night", 'command = ["true"]\ngrace = "1m30s"\nuntil = "06:00"\n')
    (job,) = json.loads(inside("jobs", "--json").stdout)
    assert (job["grace"], job["late_after"], job["until"]) == (90.0, 600.0, "06:00:00")
