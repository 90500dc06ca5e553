"""`make demo`, as a newcomer sees it: three nights, once, looked at from every side."""

import json
import os
import pty
import re
import select
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from maejobs.jobs.load import load_job

MAEJOBS = Path(sys.executable).parent / "maejobs"
JOBS = ("pretrain", "evaluate", "rotate", "backup", "cleanup")

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Demo:
    home: Path
    output: str
    status: int

    def ask(self, *arguments: str) -> list[dict]:
        command = [str(MAEJOBS), *arguments, "--home", str(self.home), "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    @property
    def campaign(self) -> Path:
        return self.home / "campaigns/main"

    def nights(self) -> list[dict]:
        return self.ask("runs", "pretrain")[::-1]

    def scores(self) -> list[dict[str, float]]:
        runs = self.ask("runs", "evaluate")[::-1]
        shown = [self.ask("show", run["id"]) for run in runs]
        return [{m["name"]: m["value"] for m in run["metrics"]} for run in shown]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo's own three nights, run once without a terminal and with an empty home."""
    directory = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [str(MAEJOBS), "demo", str(directory / "stage")],
        env={**os.environ, "HOME": str(directory)},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    return Demo(directory / "stage/home", done.stdout, done.returncode)


def test_it_ends_well_and_says_what_to_type_next(demo: Demo) -> None:
    assert demo.status == 0
    assert 'maejobs schedule pretrain "0 2 * * *"' in demo.output.splitlines()[-1]


def test_it_touches_nothing_outside_its_directory(demo: Demo) -> None:
    outside = [path.name for path in demo.home.parent.parent.iterdir()]
    assert outside == ["stage"]


def test_every_job_ran_every_night(demo: Demo) -> None:
    runs = demo.ask("runs", "--limit", "100")
    assert {(run["job"], run["state"]) for run in runs} == {(job, "succeeded") for job in JOBS}
    assert len(runs) == 3 * len(JOBS)
    assert len({run["slot"] for run in runs}) == 3 * len(JOBS)


def test_no_job_is_silent_for_a_tenth_of_what_would_be_a_stall(demo: Demo) -> None:
    limits = {name: load_job(demo.home / "jobs.d", name).stall_after for name in JOBS}
    assert limits["pretrain"]
    for run in demo.ask("runs", "--limit", "100"):
        if limit := limits[run["job"]]:
            assert longest_silence(run) < limit / 10


def longest_silence(run: dict) -> timedelta:
    """Between the start, the signs of life that are told in the event stream, and the end."""
    began, ended = (datetime.fromisoformat(run[key]) for key in ("started", "finished"))
    lines = (Path(run["directory"]) / "events.jsonl").read_text().splitlines()
    times = [datetime.fromtimestamp(json.loads(line)["time"], UTC) for line in lines]
    # The stream is told on the real clock, and the record on the rehearsal's.
    edges = ended - began - (times[-1] - times[0])
    return max(edges, *(later - earlier for earlier, later in pairwise(times)))


def test_each_night_goes_on_exactly_where_the_last_one_ended(demo: Demo) -> None:
    first, second, third = demo.nights()
    assert first["outcome"] == "paused"
    assert first["checkpoint_in"] is None
    # On a machine much faster than ours, the third night may find nothing left to do.
    assert 0 < first["step"] < second["step"] <= third["step"]
    assert second["step"] < third["step"] or third["outcome"] == "completed"
    assert second["checkpoint_in"] == first["checkpoint_out"]
    assert third["checkpoint_in"] == second["checkpoint_out"]


def test_each_night_is_better_than_the_one_before(demo: Demo) -> None:
    first, second, third = (score["reconstruction_mse"] for score in demo.scores())
    assert first > second >= third
    assert second > third or demo.nights()[-1]["step"] == demo.nights()[-2]["step"]


def test_three_nights_beat_random_weights(demo: Demo) -> None:
    last = demo.scores()[-1]
    # Nights have an end, so that what they teach depends on what else the machine does; the bar of
    # five points is `benchmarks.learning`'s.
    assert last["knn_top1"] > last["random_knn_top1"] + 3
    assert last["linear_top1"] > last["random_linear_top1"] + 1


def test_rotation_and_backup_leave_the_right_checkpoints(demo: Demo) -> None:
    *_, second, third = demo.nights()
    left = demo.ask("keep", "list", str(demo.campaign), "--deep")
    assert [Path(c["path"]).name for c in left] == [Path(third["checkpoint_out"]).name]
    backed_up = demo.ask("keep", "list", str(demo.home / "backups/main"), "--deep")
    assert [c["name"] for c in backed_up] == [
        Path(night["checkpoint_out"]).name for night in (third, second)
    ]
    assert all(c["problem"] is None for c in left + backed_up)


def test_pictures_of_reconstructions_and_of_the_loss_are_there(demo: Demo) -> None:
    pictures = demo.campaign / "pictures"
    for path in [pictures / "loss.png", *pictures.glob("reconstruction-*.png")]:
        with Image.open(path) as image:
            assert min(image.size) > 200
        assert path.name in demo.output
    assert len(list(pictures.glob("reconstruction-*.png"))) == 3


def test_progress_is_shown_without_a_terminal_too(demo: Demo) -> None:
    assert len(re.findall(r"pretrain +step [\d,]+ / ", demo.output)) >= 3


def test_a_directory_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    command = [str(MAEJOBS), "demo", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not an earlier rehearsal" in done.stderr
    assert (tmp_path / "thesis.tex").exists()


def test_on_a_terminal_one_line_is_rewritten(tmp_path: Path) -> None:
    """Only the start is watched: until the first progress line of pretraining."""
    controller, terminal = pty.openpty()
    command = [str(MAEJOBS), "demo", str(tmp_path / "stage"), "--nights", "1"]
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, stdin=terminal)
    os.close(terminal)
    seen = b""
    try:
        while b"\r\x1b[K" not in seen:
            ready, _, _ = select.select([controller], [], [], 60)
            assert ready, seen
            seen += os.read(controller, 4096)
    finally:
        process.terminate()
        process.wait(30)
        os.close(controller)
    assert b"pretrain" in seen
