"""A campaign in many nights ends with the weights of one in a single night, bit for bit."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import TINY, batches_of

from mae.build import view_of
from mae.cli import main as mae
from mae.config import Config
from mae.config_file import read_config
from mae.errors import BadInput, Busy, TrainingFailed
from mae.files import held
from mae.train import loop
from mae.train.campaign import Campaign, read_history
from mae.train.events import Events
from mae.train.spread import Spread
from mae.train.stopping import Stop
from mae.train.trainer import Trainer

STEPS = 12


def night(root: Path, config: Config, until: int | None = None) -> tuple[str, str]:
    return loop.pretrain(root, config, Stop(), Events(None), until)


def files_of(root: Path, step: int = STEPS) -> dict[str, dict]:
    path = root / "checkpoints" / f"step-{step:09d}" / "manifest.json"
    return json.loads(path.read_text())["files"]


def changed(config: Config, section: str, **values) -> Config:
    part = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: part})


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, dict]:
    root = tmp_path_factory.mktemp("whole") / "campaign"
    assert night(root, read_config("fashion-tiny", TINY))[0] == "completed"
    return files_of(root)


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stops=st.lists(st.integers(1, STEPS - 1), min_size=1, max_size=3, unique=True).map(sorted))
def test_nights_add_up_bit_for_bit(tmp_path_factory, tiny, uninterrupted, stops):
    root = tmp_path_factory.mktemp("nights") / "campaign"
    for stop in stops:
        assert night(root, tiny, until=stop) == ("paused", f"step {stop}")
    assert night(root, tiny)[0] == "completed"
    resumed = files_of(root)
    assert resumed["weights.safetensors"] == uninterrupted["weights.safetensors"]


def test_folders_resume_bit_for_bit_whatever_the_workers(tmp_path, tiny, folder):
    config = changed(tiny, "data", source=str(folder))
    night(tmp_path / "whole", changed(config, "run", workers=0))
    night(tmp_path / "parts", changed(config, "run", workers=2), until=5)
    night(tmp_path / "parts", changed(config, "run", workers=1))
    whole, parts = files_of(tmp_path / "whole"), files_of(tmp_path / "parts")
    assert whole["weights.safetensors"] == parts["weights.safetensors"]


@pytest.mark.parametrize(
    ("section", "setting"),
    [
        ("run", {"precision": "bf16"}),
        ("run", {"recompute": True}),
        ("run", {"micro_batch": 5}),
        ("recipe", {"clip_grad": 0.05}),
    ],
    ids=["bf16", "recompute", "micro batches", "clipped gradients"],
)
def test_nights_add_up_however_a_step_is_computed(tmp_path, tiny, uninterrupted, section, setting):
    config = changed(tiny, section, **setting)
    night(tmp_path / "whole", config)
    night(tmp_path / "parts", config, until=5)
    night(tmp_path / "parts", config)
    whole, parts = files_of(tmp_path / "whole"), files_of(tmp_path / "parts")
    assert whole["weights.safetensors"] == parts["weights.safetensors"]
    if setting != {"recompute": True}:  # which is to change nothing
        assert whole["weights.safetensors"] != uninterrupted["weights.safetensors"]


def test_a_packed_store_resumes_bit_for_bit_whatever_the_threads(tmp_path, tiny, folder):
    store = tmp_path / "store"
    words = ["pack", str(folder), "--output", str(store), "--channels", "1"]
    CliRunner().invoke(mae, words, catch_exceptions=False)
    config = changed(tiny, "data", source=str(store))
    night(tmp_path / "whole", changed(config, "run", workers=0))
    night(tmp_path / "parts", changed(config, "run", workers=2), until=5)
    night(tmp_path / "parts", changed(config, "run", workers=1))
    whole, parts = files_of(tmp_path / "whole"), files_of(tmp_path / "parts")
    assert whole["weights.safetensors"] == parts["weights.safetensors"]


@pytest.mark.slow
def test_a_compiled_step_learns_the_same_and_resumes(tmp_path, tiny):
    compiled = changed(tiny, "run", compile=True)
    night(tmp_path / "eager", tiny)
    night(tmp_path / "whole", compiled)
    night(tmp_path / "parts", compiled, until=5)
    night(tmp_path / "parts", compiled)
    whole, parts = files_of(tmp_path / "whole"), files_of(tmp_path / "parts")
    assert whole["weights.safetensors"] == parts["weights.safetensors"]
    eager, ours = (read_history(Campaign(tmp_path / n))[-1]["loss"] for n in ("eager", "whole"))
    assert ours == pytest.approx(eager, rel=1e-2)  # with AVX2 once 3e-3 off, else below 1e-4


def test_an_older_checkpoint_of_other_batches_is_gone_on_from_with_a_note(tmp_path, tiny, capsys):
    config = changed(tiny, "run", checkpoint_every_steps=2)
    night(tmp_path, config, until=4)
    smaller = changed(config, "recipe", batch_size=8)
    night(tmp_path, smaller, until=6)
    (tmp_path / "checkpoints/step-000000006/weights.safetensors").write_bytes(b"")
    capsys.readouterr()
    assert night(tmp_path, smaller)[0] == "completed"
    assert "from it on in batches of 8, unlike before" in capsys.readouterr().err


def test_another_seed_gives_other_weights(tmp_path, tiny, uninterrupted):
    night(tmp_path, changed(tiny, "recipe", seed=1))
    assert files_of(tmp_path)["weights.safetensors"] != uninterrupted["weights.safetensors"]


def test_a_campaign_that_is_complete_says_so_at_once(tmp_path, tiny):
    night(tmp_path, tiny)
    before = (tmp_path / "metrics.jsonl").read_text()
    assert night(tmp_path, tiny) == ("completed", "all 12 steps are done")
    assert (tmp_path / "metrics.jsonl").read_text() == before
    (tmp_path / "metrics.jsonl").unlink()  # what it learnt is in the weights
    assert night(tmp_path, tiny) == ("completed", "all 12 steps are done")


def test_history_beyond_the_resumed_step_is_forgotten(tmp_path, tiny):
    config = changed(tiny, "run", log_every_steps=2)
    night(tmp_path, config, until=6)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "loss": 1.0, "night": 1}\n{"step": 10, "lo')
    night(tmp_path, config)
    rows = read_history(Campaign(tmp_path))
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12]
    assert [row["night"] for row in rows] == [1, 1, 1, 2, 2, 2]
    assert set(rows[0]) == {
        "step", "epoch", "loss", "lr", "images_per_second", "utilisation", "data_wait", "time",
        "night",
    }  # fmt: skip


def test_micro_batches_learn_the_same(tmp_path, tiny):
    night(tmp_path / "whole", tiny)
    night(tmp_path / "parts", changed(tiny, "run", micro_batch=5))
    whole, parts = (read_history(Campaign(tmp_path / n))[-1]["loss"] for n in ("whole", "parts"))
    assert whole == pytest.approx(parts, rel=1e-4)


def test_a_look_at_a_loss_takes_no_more_memory_than_a_step(tmp_path, tiny, sample):
    seen = []
    trainer = Trainer(changed(tiny, "run", micro_batch=5), sample, torch.device("cpu"))
    (batch,) = batches_of(sample, view_of(tiny), 0, 16, range(1))
    whole = trainer.loss_of(batch)
    loss = trainer.spread.loss

    def watched(imgs, ratio, noise):
        seen.append(len(imgs))
        return loss(imgs, ratio, noise)

    trainer.spread = Spread(watched, trainer.spread.micro)
    assert trainer.loss_of(batch) == whole == pytest.approx(float(trainer.train_on(batch)[0]))
    assert seen == [5, 5, 5, 1] * 2


def test_images_that_came_or_went_are_noticed(tmp_path, tiny, folder):
    config = changed(tiny, "data", source=str(folder))
    night(tmp_path, config, until=2)
    next(folder.rglob("*.jpg")).unlink()
    next(folder.rglob("*.png")).unlink()
    with pytest.raises(BadInput, match="now there are"):
        night(tmp_path, config)


def test_a_campaign_is_trained_by_one_process_at_a_time(tmp_path):
    second = held(tmp_path / ".lock", patience=0)
    with held(tmp_path / ".lock"), pytest.raises(Busy, match="another mae process"):
        second.__enter__()


def test_a_loss_that_is_not_a_number_fails_and_keeps_the_last_checkpoint(tmp_path, tiny):
    night(tmp_path, tiny, until=2)
    absurd = changed(tiny, "recipe", base_lr=1e30)
    with pytest.raises(TrainingFailed, match=r"the loss is nan"):
        night(tmp_path, changed(absurd, "run", most_divergences=0))
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000000002"]


def test_a_deadline_that_has_passed_trains_nothing(tmp_path, tiny):
    assert loop.pretrain(tmp_path, tiny, Stop(deadline=1.0), Events(None)) == ("paused", "deadline")
    assert not (tmp_path / "checkpoints").exists()


def test_only_a_number_makes_a_checkpoints_name(tmp_path, tiny, uninterrupted):
    night(tmp_path, tiny, until=2)
    shutil.copytree(tmp_path / "checkpoints/step-000000002", tmp_path / "checkpoints/step-best")
    night(tmp_path, tiny, until=4)
    night(tmp_path, tiny)
    assert files_of(tmp_path)["weights.safetensors"] == uninterrupted["weights.safetensors"]
    assert (tmp_path / "checkpoints/step-000000004").exists()


def test_a_campaign_none_of_whose_checkpoints_is_valid_does_not_begin_anew(tmp_path, tiny):
    night(tmp_path, tiny, until=2)
    history = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "checkpoints/step-000000002/state.pt").write_text("")
    with pytest.raises(TrainingFailed, match="none of 1 checkpoints is valid"):
        night(tmp_path, tiny)
    assert (tmp_path / "metrics.jsonl").read_text() == history


def test_a_campaign_whose_checkpoints_are_gone_does_not_begin_anew(tmp_path, tiny):
    """A disk that is not mounted, say. In its first night it may have had none yet."""
    night(tmp_path, tiny, until=2)
    (tmp_path / "checkpoints").rename(tmp_path / "elsewhere")
    night(tmp_path, tiny, until=4)
    night(tmp_path, tiny, until=6)
    (tmp_path / "checkpoints").rename(tmp_path / "elsewhere too")
    history = (tmp_path / "metrics.jsonl").read_text()
    with pytest.raises(TrainingFailed, match=r"no checkpoint, though there were 2 nights; bring"):
        night(tmp_path, tiny)
    assert (tmp_path / "metrics.jsonl").read_text() == history
    (tmp_path / "metrics.jsonl").unlink()
    assert night(tmp_path, tiny, until=2) == ("paused", "step 2")


@pytest.mark.parametrize("row", [b'{"step": 1}', b"\xff\xfe", b"[1]", b'{"step": 1, "loss": "x"}'])
def test_a_line_of_the_history_that_makes_no_sense_is_passed_over(tmp_path, tiny, row):
    night(tmp_path, tiny, until=2)
    before = read_history(Campaign(tmp_path))
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(row + b"\n")
    assert read_history(Campaign(tmp_path)) == before
