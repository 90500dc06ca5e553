"""Images from idx files and folders, in batches that depend on nothing but their step."""

import errno
import gc
import gzip
import multiprocessing
import os
import pickle
import re
import resource
import signal
import struct
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from tiny import batches_of

from mae.build import view_of
from mae.config_file import read_config
from mae.data import ahead, pieces, sources
from mae.data.course import course_of
from mae.data.folders import is_held_out
from mae.data.idx import read_idx, write_idx
from mae.data.loader import Batch, plain_batches, reporting, sent, training_batches
from mae.data.make_sample import balanced
from mae.data.readers import Decoder, Place
from mae.data.sources import FASHION_MNIST, Arrays, Files, locate, open_source
from mae.draws import order
from mae.errors import BadInput, told
from mae.train.campaign import Campaign, keep_config, settle_source

CPU = torch.device("cpu")


def test_the_bundled_sample_is_balanced_and_small(sample_directory):
    splits = open_source("sample")
    for images, size in ((splits.train, 4000), (splits.held_out, 1000)):
        assert isinstance(images, Arrays)
        assert images.pixels.shape == (size, 1, 28, 28)
        assert np.bincount(images.labels).tolist() == [size // 10] * 10
    assert sum(f.stat().st_size for f in sample_directory.iterdir()) < 4e6
    assert "MIT" in (sample_directory / "LICENSE").read_text()


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_sample_is_what_its_note_of_origin_says():
    splits, full = open_source("sample"), open_source("fashion-mnist")
    for ours, whole in ((splits.train, full.train), (splits.held_out, full.held_out)):
        chosen = balanced(whole.labels, len(ours))
        np.testing.assert_array_equal(ours.pixels, whole.pixels[chosen])
        np.testing.assert_array_equal(ours.labels, whole.labels[chosen])


def test_idx_files_are_read_plain_and_gzipped(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path / "a.gz", array)
    (tmp_path / "a").write_bytes(gzip.decompress((tmp_path / "a.gz").read_bytes()))
    for name in ("a", "a.gz"):
        np.testing.assert_array_equal(read_idx(tmp_path / name), array)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not an idx file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", "not an idx file"),
        (b"\x00\x00\x08\x03\x00\x00\x00\x01", "header is cut short"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05\x00\x00", "promises shape"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, content, complaint):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=complaint) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_a_cut_gzip_file_is_named(tmp_path, sample_directory):
    whole = (sample_directory / "t10k-images-idx3-ubyte.gz").read_bytes()
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="not a whole gzip file"):
        read_idx(path)


def test_a_source_that_is_not_there_names_the_mend(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="did you mean 'sample'"):
        open_source("samlpe")
    monkeypatch.setitem(open_source.__globals__["NAMED"], "fashion-mnist", tmp_path / "gone")
    with pytest.raises(BadInput, match="apt install dataset-fashion-mnist"):
        open_source("fashion-mnist")
    with pytest.raises(BadInput, match="no JPEG or PNG images"):
        open_source(str(tmp_path))


def test_a_path_that_leads_nowhere_is_refused_in_one_line(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for find in (locate, open_source):
        with pytest.raises(BadInput, match="data source '~nosuchuser/x': there is no such home;"):
            find("~nosuchuser/x")
    with pytest.raises(BadInput, match=r"data source '.*/loop': its links lead round in a circle"):
        open_source(locate(str(tmp_path / "loop")))


def test_named_sources_stay_names_and_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate("sample") == "sample"
    assert locate("pictures") == str(tmp_path / "pictures")


def test_a_folder_has_a_class_per_subfolder_and_holds_some_images_out(folder):
    splits = open_source(str(folder))
    assert isinstance(splits.train, Files)
    assert len(splits.train) + len(splits.held_out) == 120
    assert 3 <= len(splits.held_out) <= 25
    for images in (splits.train, splits.held_out):
        named = [int(p.parent.name.removeprefix("class-")) for p in images.paths]
        assert images.labels.tolist() == named


def test_what_is_held_out_does_not_change_when_images_are_added(folder):
    before = set(open_source(str(folder)).held_out.paths)
    extra = folder / "class-0" / "extra"
    for number in range(20):
        path = extra.with_name(f"extra-{number}.png")
        path.write_bytes((folder / "class-0").glob("*.png").__next__().read_bytes())
    after = set(open_source(str(folder)).held_out.paths)
    assert {p for p in after if "extra" not in p.name} == before
    assert is_held_out(Path("a/b.png")) == is_held_out(Path("a/b.png"))


def test_train_and_val_folders_are_taken_as_they_are(folder):
    for split in ("train", "val"):
        (folder / split).mkdir()
    for directory in sorted(folder.glob("class-*")):
        (folder / "val" / directory.name).mkdir()
        images = sorted(directory.iterdir())
        images[0].rename(folder / "val" / directory.name / images[0].name)
        directory.rename(folder / "train" / directory.name)
    splits = open_source(str(folder))
    assert (len(splits.train), len(splits.held_out)) == (110, 10)
    assert splits.held_out.labels.tolist() == list(range(10))


def test_a_flat_folder_has_no_labels(folder, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in folder.rglob("*.*"):
        path.rename(flat / path.name)
    splits = open_source(str(flat))
    assert splits.train.labels is None
    assert len(splits.train) + len(splits.held_out) == 120


def test_batches_do_not_depend_on_workers_or_on_where_we_begin(folder, tiny):
    images, view = open_source(str(folder)).train, view_of(tiny)
    per_epoch = course_of(images, 16).per_epoch
    everything = list(batches_of(images, view, 0, 16, range(2 * per_epoch), 0))
    resumed = batches_of(images, view, 0, 16, range(per_epoch - 1, 2 * per_epoch), 2)
    for whole, part in zip(everything[per_epoch - 1 :], resumed, strict=True):
        assert whole.epoch == part.epoch
        np.testing.assert_array_equal(whole.samples, part.samples)
        assert torch.equal(whole.imgs, part.imgs)


def test_arrays_and_files_of_the_same_images_give_the_same_crops(tmp_path, sample, tiny):
    from PIL import Image

    for n in range(32):
        pixels = np.ascontiguousarray(sample.pixels[n, 0])
        Image.fromarray(pixels).save(tmp_path / f"{n:02d}.png")
    files = Files(tuple(sorted(tmp_path.glob("*.png"))), None)
    arrays = Arrays(sample.pixels[:32], None)
    view = view_of(tiny)
    for ours, theirs in zip(
        batches_of(arrays, view, 5, 8, range(8), 0),
        batches_of(files, view, 5, 8, range(8), 0),
        strict=True,
    ):
        assert (view.restore(ours.imgs) - view.restore(theirs.imgs)).abs().max() < 1.01


def test_colour_folders_become_three_channels(folder, tiny):
    images = open_source(str(folder)).held_out
    view = view_of(tiny.model_copy(update={"model": tiny.model.model_copy(update={"channels": 3})}))
    batch = next(plain_batches(images, view, 4, CPU, 0))
    assert batch.imgs.shape == (4, 3, 28, 28)


DDS = struct.pack("<4s7I44x2I4s40x", b"DDS ", 124, 0x1007, 4, 4, 0, 0, 0, 32, 4, b"????")


@pytest.mark.parametrize(
    ("keep", "other"),
    [(300, b""), (0, b"\xff\xd8 not a jpeg"), (0, DDS)],
    ids=["cut short", "no image", "a form that is not implemented"],
)
def test_an_unreadable_image_is_named_and_stood_in_for(folder, tiny, keep, other):
    images = open_source(str(folder)).train
    images.paths[3].write_bytes(images.paths[3].read_bytes()[:keep] + other)
    per_epoch = course_of(images, 16).per_epoch
    batches = list(batches_of(images, view_of(tiny), 0, 16, range(per_epoch), 0))
    assert all(len(batch.imgs) == 16 for batch in batches)
    seen = {path for batch in batches for path in batch.unreadable}
    assert seen <= {images.paths[3]}
    plain = list(plain_batches(images, view_of(tiny), 16, CPU, 0))
    assert [path for batch in plain for path in batch.unreadable] == [images.paths[3]]
    assert sum(len(batch.imgs) for batch in plain) == len(images) - 1
    assert 3 not in np.concatenate([batch.samples for batch in plain])
    notes: list[str] = []
    assert len(list(reporting([*plain, *plain], notes.append))) == 2 * len(plain)
    assert notes == [f"{images.paths[3]}: not a readable image; left out"]


def test_a_plain_batch_of_which_nothing_can_be_read_is_passed_over(folder, tiny):
    images = open_source(str(folder)).train
    for path in images.paths[4:8]:
        path.write_bytes(b"no image")
    notes: list[str] = []
    batches = list(reporting(plain_batches(images, view_of(tiny), 4, CPU, 0), notes.append))
    np.testing.assert_array_equal(
        np.concatenate([batch.samples for batch in batches]), [*range(4), *range(8, len(images))]
    )
    assert all(len(batch.samples) for batch in batches)
    assert notes == [f"{path}: not a readable image; left out" for path in images.paths[4:8]]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_in_pieces_is_the_same_batch(folder, tiny, monkeypatch, workers):
    images, view = open_source(str(folder)).train, view_of(tiny)
    shuffled = order(0, 0, len(images))
    for sample in [*shuffled[4:8], shuffled[17]]:  # all of a piece, and one of another
        images.paths[sample].write_bytes(b"no image")

    def batches() -> list[Batch]:
        return [
            *batches_of(images, view, 0, 16, range(4), workers),
            *plain_batches(images, view, 16, CPU, workers),
        ]

    whole = batches()
    monkeypatch.setattr(ahead, "SIZE", 4)
    for ours, theirs in zip(batches(), whole, strict=True):
        np.testing.assert_array_equal(ours.samples, theirs.samples)
        assert torch.equal(ours.imgs, theirs.imgs)
        assert (ours.epoch, ours.unreadable) == (theirs.epoch, theirs.unreadable)
    assert len(whole[0].unreadable) == 4


@pytest.mark.parametrize(("size", "most"), [(4, 2), (16, 4)])  # two batches, or two a process
def test_no_more_is_read_ahead_than_is_needed(folder, tiny, monkeypatch, size, most):
    monkeypatch.setattr(ahead, "SIZE", size)
    begun = 0

    def plan() -> Iterator[tuple[int | None, np.ndarray]]:
        nonlocal begun
        while begun < 20:
            begun += 1
            yield 0, np.arange(16)

    decoder = Decoder(open_source(str(folder)).train, view_of(tiny), 0)
    for taken, _ in enumerate(pieces.read_ahead(decoder, plan(), 2, pinned=False), start=1):
        assert begun - taken <= most
        if taken == 5:
            break
    assert begun - taken == most


def test_a_stop_that_comes_as_processes_begin_ends_none_of_them(folder, tiny, monkeypatch):
    begin = pieces._begin_work

    def told_to_stop_first(worker: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # as a supervisor does to the whole group
        begin(worker)

    monkeypatch.setattr(pieces, "_begin_work", told_to_stop_first)
    decoder = Decoder(open_source(str(folder)).train, view_of(tiny), 0)
    plan = iter([(0, np.arange(4))])
    assert len(list(pieces.read_ahead(decoder, plan, 1, pinned=False))) == 1
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())  # of ours nothing is held back


def test_images_of_which_none_can_be_read_are_refused(folder, tiny):
    images = open_source(str(folder)).held_out
    for path in images.paths:
        path.write_bytes(b"no image")
    with pytest.raises(BadInput, match=f"none of {len(images)} images can be read"):
        list(reporting(plain_batches(images, view_of(tiny), 4, CPU, 0), print))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_batch_of_which_nothing_can_be_read_is_refused_in_a_line(folder, tiny, workers):
    images = open_source(str(folder)).train
    for path in images.paths:
        path.write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"^none of 16 images in a batch can be read, .* for one; "):
        next(batches_of(images, view_of(tiny), 0, 16, range(3), workers))


def test_pictures_of_another_size_are_cropped_to_the_networks(sample, tiny):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide = Arrays(sample.pixels[:4, :, 6:22], None)
        batch = next(plain_batches(wide, view_of(tiny), 4, CPU, 0))
    assert batch.imgs.shape == (4, 1, 28, 28)


def test_normalising_is_undone(sample, tiny):
    view = view_of(tiny)
    batch = next(plain_batches(Arrays(sample.pixels[:8], None), view, 8, CPU, 0))
    restored = view.restore(batch.imgs).round().to(torch.uint8)
    np.testing.assert_array_equal(restored.numpy(), sample.pixels[:8])


def test_a_batch_larger_than_the_data_is_refused(sample):
    with pytest.raises(BadInput, match="batch_size 64 is larger than the 10 training images"):
        course_of(Arrays(sample.pixels[:10], None), 64)


@pytest.mark.parametrize(("installed", "meant"), [(True, "fashion-mnist"), (False, "sample")])
def test_auto_means_the_full_set_where_it_is_installed(installed, meant, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "FASHION_MNIST", tmp_path if installed else tmp_path / "none")
    assert sources.locate("auto") == meant


def test_auto_is_decided_on_the_first_night(tmp_path, monkeypatch):
    campaign = Campaign(tmp_path)
    asked = read_config("fashion-tiny")
    asked = asked.model_copy(update={"data": asked.data.model_copy(update={"source": "auto"})})
    monkeypatch.setattr(sources, "FASHION_MNIST", tmp_path / "none")
    keep_config(campaign, settle_source(campaign, asked), 0, [])
    monkeypatch.setattr(sources, "FASHION_MNIST", tmp_path)
    assert settle_source(campaign, asked).data.source == "sample"


@pytest.fixture
def locked(folder, monkeypatch) -> Path:
    """A class whose folder may not be read; root would be let in all the same."""
    path, scandir = folder / "class-3", os.scandir

    def refusing(place="."):
        if Path(place) == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    return path


def test_a_folder_that_may_not_be_read_is_refused_by_name(folder, locked):
    with pytest.raises(BadInput, match=r"cannot be read \(Permission denied\); give") as told:
        open_source(str(folder))
    assert str(told.value).startswith(f"{locked}: ")


NAMES = {"{}.png": [6, 26, 27, 35, 38, 40], "é-{}.png": [10, 27, 41, 44]}


def test_names_that_are_not_utf_8_are_held_out_or_not_as_any_other(folder):
    held_out = {name: [n for n in range(50) if is_held_out(Path(name.format(n)))] for name in NAMES}
    assert held_out == NAMES, "those of campaigns that began earlier"
    for n, path in enumerate(sorted(folder.rglob("*.png"))):
        path.rename(path.with_name(f"caf\udce9-{n:02d}.png"))  # b"caf\xe9-..." on the disk
    splits = open_source(str(folder))
    assert len(splits.train) + len(splits.held_out) == 120
    assert any("\udce9" in path.name for path in splits.held_out.paths)


@pytest.mark.parametrize("split", ["train", "t10k"])
@pytest.mark.parametrize("shape", [(0, 28, 28), (3, 0, 28)])
def test_idx_files_without_images_are_refused_by_name(tmp_path, sample, split, shape):
    for name in ("train", "t10k"):
        pixels = np.zeros(shape, np.uint8) if name == split else sample.pixels[:30, 0]
        write_idx(tmp_path / f"{name}-images-idx3-ubyte.gz", pixels)
    with pytest.raises(BadInput, match=f"{split}-images-idx3-ubyte.gz: no images in it, its shape"):
        open_source(str(tmp_path))


def test_a_link_to_nothing_is_an_unreadable_image(folder, tiny):
    path = next(open_source(str(folder)).train.paths[3].parent.glob("*.png"))
    path.unlink()
    path.symlink_to("nowhere.png")
    splits = open_source(str(folder))
    batches = [
        b
        for s in (splits.train, splits.held_out)
        for b in plain_batches(s, view_of(tiny), 16, CPU, 0)
    ]
    assert [p for batch in batches for p in batch.unreadable] == [path]
    assert sum(len(batch.imgs) for batch in batches) == 119


def test_a_class_may_be_a_link_to_a_folder(folder, tmp_path):
    before = open_source(str(folder))
    (folder / "class-3").rename(tmp_path / "elsewhere")
    (folder / "class-3").symlink_to(tmp_path / "elsewhere")
    after = open_source(str(folder))
    assert (after.train.paths, after.classes) == (before.train.paths, before.classes)
    (tmp_path / "elsewhere" / "round").symlink_to(folder)
    (folder / "again").symlink_to(".")
    assert open_source(str(folder)).train.paths == before.train.paths


def test_hidden_folders_are_no_classes(folder):
    before = open_source(str(folder))
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "a.png").write_bytes(before.train.paths[1].read_bytes())
    after = open_source(str(folder))
    assert (after.train.paths, after.classes) == (before.train.paths, before.classes)


def test_normalising_sends_its_numbers_once(sample, tiny, monkeypatch):
    """A GPU is waited for by each copy of memory that is not pinned."""
    view, pixels = view_of(tiny), torch.from_numpy(sample.pixels[:8].copy())
    with torch.inference_mode():
        wanted = view.normalise(pixels)

    def refuse(*_, **__):
        raise AssertionError("sent again")

    monkeypatch.setattr(torch, "tensor", refuse)
    monkeypatch.setattr(torch.Tensor, "new_tensor", refuse)
    assert torch.equal(view.normalise(pixels), wanted)
    imgs = wanted.clone().requires_grad_()
    view.restore(imgs).sum().backward()
    assert imgs.grad is not None


def test_a_gpu_is_sent_pinned_memory_and_not_waited_for():
    class Recorder:
        told: ClassVar[list] = []

        def pin_memory(self):
            self.told.append("pinned")
            return self

        def to(self, device, non_blocking):
            self.told.append((device.type, non_blocking))
            return self

    for kind in ("cuda", "cpu"):
        sent(Recorder(), torch.device(kind))
    assert Recorder.told == ["pinned", ("cuda", True), ("cpu", True)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_small_images_reach_a_gpu_without_its_being_waited_for(sample, tiny):
    device, view = torch.device("cuda"), view_of(tiny)
    images = Arrays(sample.pixels[:64], None)
    course = course_of(images, 16)
    batches = training_batches(images, view, 0, course, range(8), device, 0)
    first = next(batches)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [first, *batches]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for ours, theirs in zip(found, batches_of(images, view, 0, 16, range(8)), strict=True):
        off = (view.restore(ours.imgs).cpu() - view.restore(theirs.imgs)).abs()
        # A sum in another order rounds to another level here and there, along either axis.
        assert off.max() < 2.01
        assert (off > 0.5).float().mean() < 0.002


@pytest.mark.parametrize("error", [ConnectionResetError(), EOFError(), FileNotFoundError()])
def test_a_process_killed_while_it_hands_over_is_told_of_as_one(error):
    class Broken(list):
        _workers = (multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)),)

        def __iter__(self):
            raise error

    (process,) = Broken._workers
    process.start()
    process.kill()
    with pytest.raises(RuntimeError) as told_of:
        next(pieces._naming_the_dead(Broken()))
    line, code = told(told_of.value)
    assert code == 1
    how = "is killed by signal: Killed: for want of memory"  # which the supervisor knows
    assert line.startswith(f"DataLoader worker (pid {process.pid}) {how}")
    with pytest.raises(type(error)):  # nobody is dead
        next(pieces._naming_the_dead(type("Alive", (Broken,), {"_workers": ()})()))


@pytest.mark.timeout(60)
def test_no_room_in_shared_memory_is_told_in_a_line(folder, tiny):
    images, batch_bytes = open_source(str(folder)).train, 16 * 28 * 28
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (batch_bytes // 2, hard))
    try:
        with pytest.raises(RuntimeError) as told_of:
            next(batches_of(images, view_of(tiny), 0, 16, range(3), workers=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    line, code = told(told_of.value)
    assert code == 1
    assert line.startswith("the room in /dev/shm is not enough: unable to ")
    assert "\n" not in line
    assert line.endswith("; give it more, or pack the images")


def test_a_process_that_reads_ahead_does_not_come_to_have_a_copy_of_all_paths(tiny):
    paths = tuple(Path(f"/nowhere/{n:0200d}") for n in range(20_000))
    decoder = Decoder(Files(paths, None), view_of(tiny), 0)
    places = [Place(0, n) for n in range(0, len(paths), 10)]
    if not (pid := os.fork()):
        grown = 99.0
        try:
            pieces._begin_work(0)
            decoder.__getitems__(places[:1])
            before = _own_megabytes()
            assert len(decoder.__getitems__(places)) == len(places)
            gc.collect()
            grown = _own_megabytes() - before
        finally:
            os._exit(min(99, int(grown)))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) < 3


def test_one_long_path_does_not_make_all_of_them_long(tiny):
    short = [Path(f"/nowhere/{n}") for n in range(20_000)]
    paths = (Path("/nowhere", *["x" * 200] * 18), *short)
    decoder = Decoder(Files(paths, None), view_of(tiny), 0)
    assert len(pickle.dumps((decoder.names, decoder.ends))) < 1e6
    for sample in (0, 1, 20_000):
        assert decoder._name(sample) == os.fsencode(paths[sample])


def _own_megabytes() -> float:
    told = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"Private_Dirty: +(\d+)", told)[1]) / 1e3
