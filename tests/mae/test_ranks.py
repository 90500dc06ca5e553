"""Several processes train as one does; the first of them writes, and none outlives another."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import forked
import psutil
import pytest
import torch
from safetensors.torch import load_file
from test_process import events, newest, start, wait_for
from test_resume import STEPS, night
from tiny import TINY

import mae.train.processes
from mae.cli import main
from mae.config import Config
from mae.config_file import read_config
from mae.data.sources import open_source
from mae.draws import order
from mae.errors import BadInput
from mae.files import held
from mae.train.campaign import Campaign, read_history
from mae.train.processes import is_started_here
from mae.train.ranks import ALONE, Ranks, ranks_here

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# Two layers each, so that the last block of the decoder is not the only one; parts of micro
# batches that are not alike; a gradient that is clipped.
SETTINGS = (
    *TINY, "model.depth=2", "model.decoder_depth=2", "run.micro_batch=3", "run.threads=1",
    "run.log_every_steps=1", "run.checkpoint_every_steps=4", "recipe.clip_grad=1.0",
)  # fmt: skip
SPY = """
import os, sys

def written(event, arguments):
    changes = event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir")
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        changes = True
    if changes and os.environ["ROOT"] in str(arguments[0]):
        descriptor = os.open(os.environ["WRITERS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, (os.environ["RANK"] + "\\n").encode())
        os.close(descriptor)

if "RANK" in os.environ and "ROOT" in os.environ:
    sys.addaudithook(written)
"""


def command(root: Path, *more: str, settings: tuple[str, ...] = SETTINGS) -> list[str]:
    words = [word for setting in settings for word in ("--set", setting)]
    return ["-m", "mae", "pretrain", "--config", "fashion-tiny", "--output", str(root), *words,
            *more]  # fmt: skip


def torchrun(root: Path, *more: str) -> list[str]:
    return [*TORCHRUN, *command(root, *more)]


def processes(root: Path, *more: str, count: int = 2) -> list[str]:
    return [sys.executable, *command(root, "--processes", str(count), *more)]


def run(words: list[str], **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        words, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


def run_copies(words: list[str], **environment: str) -> subprocess.CompletedProcess:
    """As `run`, of mae; it and those that it starts are copies of this process."""
    with copied_ranks():
        return forked.run(words, env={**os.environ, **environment})


@contextmanager
def copied_ranks() -> Iterator[None]:
    """What is started within has copies of itself for its ranks, instead of fresh processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mae.train.processes, "subprocess", SimpleNamespace(Popen=forked.Forked))
        yield


def told_by_mae(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("mae: ")]


def weights_of(root: Path) -> dict[str, torch.Tensor]:
    return load_file(root / f"checkpoints/step-{STEPS:09d}/weights.safetensors")


def losses_of(root: Path) -> list[float]:
    return [row["loss"] for row in read_history(Campaign(root))]


def assert_learnt_alike(root: Path, other: Path) -> None:
    """The same losses and weights to 1e-5.

    But for the bias of attention's keys, which no output depends on: its gradient is rounding
    errors, which AdamW scales up to full steps.
    """
    assert losses_of(root) == pytest.approx(losses_of(other), abs=1e-5, rel=0)
    assert len(losses_of(root)) == STEPS
    ours, theirs = weights_of(root), weights_of(other)
    assert list(ours) == list(theirs)
    for name, weight in ours.items():
        same = torch.ones_like(weight, dtype=torch.bool)
        if name.endswith("attn.qkv.bias"):
            same[len(weight) // 3 : 2 * len(weight) // 3] = False
        assert (weight - theirs[name]).abs()[same].max() < 1e-5, name


def same_weights(root: Path, other: Path) -> bool:
    ours, theirs = weights_of(root), weights_of(other)
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def config() -> Config:
    return read_config("fashion-tiny", SETTINGS)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, config) -> Path:
    """A campaign that one process trained."""
    root = tmp_path_factory.mktemp("alone") / "campaign"
    night(root, config)
    return root


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A campaign that torchrun's two processes trained, watched; and what they said."""
    place = tmp_path_factory.mktemp("two")
    (place / "sitecustomize.py").write_text(SPY)
    root = place / "campaign"
    done = run(
        torchrun(root),
        PYTHONPATH=str(place),
        ROOT=str(root),
        WRITERS=str(place / "writers"),
        MAEJOBS_EVENTS=str(place / "events.jsonl"),
    )
    assert done.returncode == 0, done.stderr
    return root, done


@pytest.mark.slow
def test_two_processes_learn_what_one_does(alone, two):
    assert_learnt_alike(two[0], alone)


@pytest.mark.slow
def test_only_the_first_process_writes_and_speaks(two):
    root, done = two
    assert set((root.parent / "writers").read_text().split()) == {"0"}
    assert done.stdout == f"completed: all {STEPS} steps are done\n"
    assert [line for line in told_by_mae(done.stderr) if "step 12 of 12" not in line] == []
    assert len(told_by_mae(done.stderr)) == 1
    assert [event["step"] for event in events(root.parent, "checkpoint")] == [4, 8, 12]
    assert len(events(root.parent, "outcome")) == 1


@pytest.mark.slow
def test_processes_resume_bit_for_bit(tmp_path):
    """With three of them, since the sum of three numbers depends on their order."""
    whole, parts, size = tmp_path / "whole", tmp_path / "parts", ("--set", "recipe.batch_size=15")
    assert run_copies(processes(whole, *size, count=3)).returncode == 0
    first = run_copies(processes(parts, *size, "--until-step", "5", count=3))
    assert first.stdout == "paused: step 5\n"
    second = run_copies(processes(parts, *size, count=3))
    assert "resuming from step-000000005" in " ".join(told_by_mae(second.stderr))
    assert same_weights(parts, whole)


@pytest.mark.slow
def test_a_sharded_night_goes_on_from_a_whole_one_and_a_whole_one_from_it(tmp_path, config, alone):
    root, shard = tmp_path / "campaign", ("--set", "run.shard=true")
    night(root, config, until=3)
    done = run_copies(processes(root, *shard, "--until-step", "9"))
    assert done.stdout == "paused: step 9\n", done.stderr
    night(root, config)
    assert_learnt_alike(root, alone)
    states = [torch.load(path, weights_only=True) for path in sorted(root.rglob("state.pt"))]
    names = [set(state["optimiser"]["state"]) for state in states]
    assert all(numbers == names[0] for numbers in names)


@pytest.mark.slow
def test_shards_add_up_with_activations_computed_anew(tmp_path, two):
    """Two numbers make the same sum in either order, so DDP's and FSDP's are the same.

    To the bit where products do not depend on where their tensors lie, as MKL's do with AVX2.
    """
    settings = ("--set", "run.shard=true", "--set", "run.recompute=true")
    done = run_copies(processes(tmp_path / "campaign", *settings))
    assert done.returncode == 0, done.stderr
    assert_learnt_alike(tmp_path / "campaign", two[0])


def started(words: list[str], tmp_path: Path) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """A long run once it has a checkpoint, and its processes by rank."""
    root = tmp_path / "campaign"
    process = start(words, tmp_path)
    wait_for(lambda: newest(root, []) > 4, process)
    children = psutil.Process(process.pid).children()
    # Started one after the other; what a copy has in its environment cannot be seen from outside.
    return process, sorted(children, key=lambda child: (child.create_time(), child.pid))


@pytest.mark.slow
@pytest.mark.fault
def test_a_signal_that_one_process_sees_pauses_all_at_the_same_step(tmp_path):
    with copied_ranks():
        process, ranks = started(processes(tmp_path / "campaign", "--steps", "100000"), tmp_path)
    ranks[1].send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "paused: SIGTERM\n"), err
    (outcome,) = events(tmp_path, "outcome")
    assert outcome["reason"] == "SIGTERM"
    last = read_history(Campaign(tmp_path / "campaign"))[-1]["step"]
    assert newest(tmp_path / "campaign", []) == last


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("words", [processes, torchrun])
def test_term_to_the_group_pauses_at_a_checkpoint(tmp_path, words):
    """In steps so slow that the signal comes again, passed on, before they are done."""
    settings = ("recipe.batch_size=1600", "run.micro_batch=800", "run.checkpoint_every_steps=1")
    slow = [word for setting in settings for word in ("--set", setting)]
    with copied_ranks():  # torchrun's are fresh all the same
        process, _ = started(words(tmp_path / "campaign", "--steps", "100000", *slow), tmp_path)
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert out == "paused: SIGTERM\n", err
    # torchrun fails when it is told to stop, whatever its processes make of it.
    assert process.returncode == (0 if words is processes else 1)
    (outcome,) = events(tmp_path, "outcome")
    assert outcome["status"] == "paused"
    told = events(tmp_path, "checkpoint")[-1]
    assert newest(tmp_path / "campaign", []) == told["step"]


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize(("words", "victim"), [(processes, 0), (torchrun, 1)])
def test_a_process_that_is_killed_ends_the_run_with_one_line(tmp_path, words, victim):
    root = tmp_path / "campaign"
    process, ranks = started(words(root, "--steps", "100000"), tmp_path)
    ranks[victim].kill()
    killed = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - killed < 20
    assert process.returncode == 1
    told = [line for line in told_by_mae(err) if "steps/s" not in line]
    line = f"mae: rank {victim} of 2 died; start again to go on from the last checkpoint"
    assert told == [line]
    assert "Traceback" not in err or words is torchrun
    assert events(tmp_path, "outcome") == []
    assert not any(rank.is_running() for rank in ranks)
    complaints: list[str] = []
    assert newest(root, complaints) > 0
    assert complaints == []


@pytest.mark.slow
@pytest.mark.fault
def test_processes_whose_starter_is_killed_pause_at_a_checkpoint(tmp_path):
    with copied_ranks():
        process, ranks = started(processes(tmp_path / "campaign", "--steps", "100000"), tmp_path)
    process.kill()
    process.communicate(timeout=60)  # until the last of them has closed its output
    assert psutil.wait_procs(ranks, timeout=30)[1] == []
    (outcome,) = events(tmp_path, "outcome")
    assert (outcome["status"], outcome["reason"]) == ("paused", "SIGTERM")
    assert newest(tmp_path / "campaign", []) == events(tmp_path, "checkpoint")[-1]["step"]


@pytest.mark.slow
def test_what_only_the_second_process_finds_wrong_is_told_by_the_first(tmp_path, folder):
    images = open_source(str(folder)).train
    for sample in order(0, 0, len(images))[16 + 8 : 32]:  # the second half of the second batch
        images.paths[sample].write_bytes(b"no image")
    data = ("--data", str(folder), "--set", "run.workers=0")
    done = run_copies(processes(tmp_path / "campaign", *data))
    assert done.returncode == 2
    (line,) = told_by_mae(done.stderr)
    assert line.startswith("mae: rank 1 of 2: none of 8 images in a batch can be read")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused_once(tmp_path):
    done = run_copies(processes(tmp_path / "campaign", "--set", "recipe.batch_size=15"))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("mae: recipe.batch_size 15 cannot be shared equally by 2 processes; ")
    assert not (tmp_path / "campaign").exists()


@pytest.mark.slow
def test_a_campaign_that_is_at_work_is_told_once(tmp_path):
    with held(tmp_path / ".lock"):
        done = run_copies(processes(tmp_path))
    assert done.returncode == 75
    (line,) = done.stderr.splitlines()
    assert "another mae process is at work here" in line


def test_a_deadline_that_is_none_is_refused_before_any_process_is_started(tmp_path):
    done = run_copies(processes(tmp_path / "campaign"), MAEJOBS_DEADLINE="foo")
    assert done.returncode == 2
    assert done.stderr == "mae: MAEJOBS_DEADLINE: 'foo' is not a time in Unix seconds\n"
    assert not (tmp_path / "campaign").exists()


def test_shares_make_up_the_batch():
    samples = list(range(12))
    shares = [samples[Ranks(rank, 3).share(12)] for rank in range(3)]
    assert [sample for share in shares for sample in share] == samples
    assert samples[ALONE.share(12)] == samples


@pytest.mark.parametrize("told", [{"WORLD_SIZE": "two"}, {"WORLD_SIZE": "2"}, {"WORLD_SIZE": ""}])
def test_an_environment_that_makes_no_sense_is_refused(monkeypatch, told):
    monkeypatch.delenv("RANK", raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match="are not what torchrun sets"):
        ranks_here()


def test_processes_are_not_started_within_torchruns(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert not is_started_here(4)
    with pytest.raises(BadInput, match="leave out --processes"):
        is_started_here(2)
    monkeypatch.delenv("WORLD_SIZE")
    assert is_started_here(2)
    assert not is_started_here(1)


def test_one_process_knows_nothing_of_others(tmp_path):
    def train() -> None:
        main(command(tmp_path, "--until-step", "1")[2:], standalone_mode=False)
        sys.exit(torch.distributed.is_initialized())

    child = multiprocessing.get_context("fork").Process(target=train)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["step"] == 1
