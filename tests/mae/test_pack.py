"""Packing: folders, idx files and tar shards become a store, whole or not there."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import forked
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mae.cli import main
from mae.cli_pack import parse_size
from mae.data import pack as packing
from mae.data import pack_plan
from mae.data.idx import write_idx
from mae.data.listing import list_source
from mae.data.pack_plan import Task, sound_lines
from mae.data.packing import packed_view
from mae.data.shards import number_labels, split_key
from mae.data.sources import open_source
from mae.data.store import Packed
from mae.errors import BadInput, TrainingFailed


def mae(*arguments: object):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


def pack(source: Path, store: Path, *options: str) -> dict:
    done = mae("pack", source, "--output", store, "--json", *options)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def small_chunks(monkeypatch) -> None:
    """Seven images in a chunk."""
    monkeypatch.setattr(pack_plan, "CHUNK_IMAGES", 7)


@pytest.fixture
def shards(folder: Path, tmp_path: Path) -> Path:
    """The folder's images as two tar shards."""
    root = tmp_path / "shards"
    root.mkdir()
    paths = sorted(folder.rglob("*.*"))
    for number, part in enumerate((paths[:70], paths[70:])):
        with tarfile.open(root / f"part-{number}.tar", "w") as archive:
            for path in part:
                archive.add(path, f"x/{path.name}")
                label = tarfile.TarInfo(f"x/{path.stem}.cls")
                content = path.parent.name.removeprefix("class-").encode()
                label.size = len(content)
                archive.addfile(label, io.BytesIO(content))
    return root


def test_a_folder_becomes_a_store_with_the_same_images_labels_and_splits(folder, tmp_path):
    report = pack(folder, tmp_path / "store", "--channels", "1")
    assert report["classes"] == [f"class-{n}" for n in range(10)]
    files, packed = open_source(str(folder)), open_source(str(tmp_path / "store"))
    assert packed.classes == files.classes
    for ours, theirs in ((packed.train, files.train), (packed.held_out, files.held_out)):
        assert isinstance(ours, Packed)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        for n, path in enumerate(theirs.paths):
            np.testing.assert_array_equal(ours.image(n)[:, :, 0], np.asarray(Image.open(path)))


def test_idx_files_become_a_store(sample, sample_directory, tmp_path):
    report = pack(sample_directory, tmp_path / "store")
    assert (report["train"], report["held_out"], report["channels"]) == (4000, 1000, 1)
    train = open_source(str(tmp_path / "store")).train
    np.testing.assert_array_equal(train.batch(np.arange(4000)), sample.pixels)
    np.testing.assert_array_equal(train.labels, sample.labels)


def test_tar_shards_become_a_store(shards, folder, tmp_path):
    assert pack(shards, tmp_path / "store", "--channels", "1")["classes"] == []
    splits = open_source(str(tmp_path / "store"))
    assert len(splits.train) + len(splits.held_out) == 120
    wanted = {}
    for path in folder.rglob("*.*"):
        pixels = np.asarray(Image.open(path)).tobytes()
        wanted[pixels] = int(path.parent.name.removeprefix("class-"))
    for images in (splits.train, splits.held_out):
        for n, label in enumerate(images.labels):
            assert wanted[images.image(n).tobytes()] == label


def test_one_shard_is_a_source_and_split_shards_are_taken_as_they_are(shards, tmp_path):
    assert len(list_source(str(shards / "part-0.tar"))) == 70
    for split, part in (("train", 0), ("val", 1)):
        (shards / split).mkdir()
        (shards / f"part-{part}.tar").rename(shards / split / f"part-{part}.tar")
    listing = list_source(str(shards))
    assert (listing.train, len(listing)) == (70, 120)
    assert listing.names[0].startswith("train/part-0.tar/x/")


def test_a_cut_shard_is_named(shards):
    part = shards / "part-0.tar"
    part.write_bytes(part.read_bytes()[:30_000])
    with pytest.raises(BadInput, match=r"part-0.tar: not a whole tar file .*; fetch it again"):
        list_source(str(shards))


def test_a_label_that_is_missing_in_a_shard_is_named(shards, tmp_path):
    with tarfile.open(shards / "part-1.tar", "a") as archive:
        archive.add(next((tmp_path / "images").rglob("*.png")), "x/more.png")
    with pytest.raises(BadInput, match=r"part-1.tar: x/more.cls is missing, others have one"):
        list_source(str(shards))


def test_keys_end_at_the_first_dot_of_the_name():
    assert split_key("a.b/c.seg.PNG") == ("a.b/c", "seg.png")


def test_written_numbers_stay_and_names_are_numbered():
    assert number_labels(["7", "0", "7"]) == ([7, 0, 7], ())
    assert number_labels(["cat", "ant", "7"]) == ([2, 1, 0], ("7", "ant", "cat"))


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 500))
def test_a_number_keeps_the_whole_picture_and_its_shape(height, width, size):
    box, shape = packed_view(height, width, size)
    assert box == (0, 0, height, width)
    assert min(shape) == min(size, height, width)
    assert abs(shape[0] * width - shape[1] * height) <= max(height, width)


def test_a_height_and_a_width_keep_the_central_part():
    assert packed_view(100, 300, (50, 40)) == ((0, 110, 100, 80), (50, 40))


@given(st.tuples(st.integers(1, 65535), st.integers(1, 65535)), st.sampled_from("xX"))
def test_sizes_are_read_as_they_are_written(size, cross):
    assert parse_size(f"{size[0]}") == size[0]
    assert parse_size(f"{size[0]}{cross}{size[1]}") == size


@given(st.text(max_size=8).filter(lambda text: not set(text) <= set("0123456789xX")))
def test_a_size_with_anything_else_in_it_is_refused(text):
    with pytest.raises(BadInput, match="write it as 256"):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "0", "x", "7x", "1x2x3", "70000", "٣"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(BadInput, match="write it as 256"):
        parse_size(text)


def test_workers_change_no_byte(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pack_plan, "CHUNK_IMAGES", 50)
    pack(folder, tmp_path / "alone", "--workers", "0", "--size", "20")
    pack(folder, tmp_path / "together", "--workers", "3", "--size", "20")
    assert contents(tmp_path / "alone") == contents(tmp_path / "together")


def test_unreadable_images_are_named_and_left_out(folder, tmp_path):
    bad = sorted(folder.rglob("*.jpg"))[5]
    bad.write_bytes(bad.read_bytes()[:300])
    done = mae("pack", folder, "--output", tmp_path / "store")
    assert done.exit_code == 0
    name = f"{bad.parent.name}/{bad.name}"
    assert f"mae: {name}: " in done.stderr
    assert "1 unreadable left out" in done.stdout
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert [b["name"] for b in manifest["bad"]] == [name]
    assert manifest["train"] + manifest["held_out"] == 119


@pytest.mark.parametrize("workers", [0, 2])
def test_names_that_are_not_utf_8_are_packed_and_told_of(folder, tmp_path, workers):
    for n, path in enumerate(sorted(folder.glob("class-[0-4]"))):
        path.rename(path.with_name(f"caf\udce9-{n}"))  # b"caf\xe9-..." on the disk
    for path in sorted(folder.rglob("*.jpg"))[::9]:
        path.write_bytes(b"no image")
    command = [sys.executable, "-m", "mae", "pack", folder, "--output", tmp_path / "store"]
    done = subprocess.run([*command, "--workers", str(workers)], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    splits = open_source(str(tmp_path / "store"))
    assert len([name for name in splits.classes if "\udce9" in name]) == 5
    assert mae("pack", "--verify", tmp_path / "store").exit_code == 0


def test_a_place_whose_name_is_not_utf_8_can_be_packed_and_printed(folder, tmp_path):
    source, store = tmp_path / "caf\udce9", tmp_path / "caf\udce9-store"
    folder.rename(source)
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}  # as in most locales
    command = [sys.executable, "-m", "mae", "pack", source, "--output", store]
    for more in ([], ["--json"], ["--dry-run"]):
        done = subprocess.run([*command, *more], capture_output=True, env=strict)
        assert done.returncode == 0, done.stderr
    verify = [*command[:4], "--verify", store]
    done = subprocess.run(verify, capture_output=True, env=strict)
    assert (done.returncode, done.stderr) == (0, b"")


def test_unreadable_images_are_refused_if_asked(folder, tmp_path):
    bad = sorted(folder.rglob("*.jpg"))[5]
    bad.write_bytes(b"no image")
    done = mae("pack", folder, "--output", tmp_path / "store", "--on-bad", "fail")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"{bad.parent.name}/{bad.name}: " in done.stderr
    assert "--on-bad skip" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["images"]


def test_what_was_left_out_before_is_refused_if_asked_now(folder, tmp_path, small_chunks):
    bad = sorted(folder.rglob("*.jpg"))[0]
    bad.write_bytes(b"no image")
    seen: list[int] = []
    stop = lambda: "SIGTERM" if len(seen) > 20 else None  # noqa: E731
    task = Task(list_source(str(folder)), tmp_path / "store", 256, 3)
    assert packing.pack(task, 0, True, stop, print, seen.append)["status"] == "paused"
    asked = ["pack", folder, "--output", tmp_path / "store", "--workers", "0"]
    line = f"{folder}: {bad.parent.name}/{bad.name}: "
    for left_out in (".tmp-store", "store"):
        done = mae(*asked, "--on-bad", "fail")
        assert (done.exit_code, done.stderr.count("\n"), done.stdout) == (2, 1, "")
        assert line in done.stderr
        assert "--on-bad skip" in done.stderr
        assert (tmp_path / left_out).exists(), "what is packed is kept"
        assert mae(*asked).exit_code == 0


def test_images_that_are_all_unreadable_are_refused(folder, tmp_path):
    for path in folder.rglob("*.*"):
        path.write_bytes(b"no image")
    done = mae("pack", folder, "--output", tmp_path / "store")
    assert done.exit_code == 2
    assert "120 images cannot be read" in done.stderr


def test_idx_files_without_held_out_images_are_refused_before_anything_is_written(sample, tmp_path):
    source = tmp_path / "idx"
    source.mkdir()
    write_idx(source / "train-images-idx3-ubyte.gz", sample.pixels[:30, 0])
    write_idx(source / "t10k-images-idx3-ubyte.gz", sample.pixels[:0, 0])
    done = mae("pack", source, "--output", tmp_path / "store")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "t10k-images-idx3-ubyte.gz: no images in it" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["idx"]


@pytest.mark.parametrize("target", ["nowhere.png", "{}"], ids=["to nothing", "to itself"])
def test_a_dangling_link_is_left_out_or_refused_as_asked(folder, tmp_path, target):
    path = sorted(folder.rglob("*.png"))[7]
    path.unlink()
    path.symlink_to(target.format(path.name))
    name = f"{path.parent.name}/{path.name}"
    asked = ["pack", folder, "--output", tmp_path / "store"]
    done = mae(*asked, "--on-bad", "fail")
    assert done.exit_code == 2
    assert f"{name}: " in done.stderr
    assert not (tmp_path / "store").exists()
    done = mae(*asked, "--on-bad", "skip")
    assert done.exit_code == 0
    assert f"mae: {name}: " in done.stderr
    assert "1 unreadable left out" in done.stdout


def test_a_dry_run_tells_and_writes_nothing(folder, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = mae("pack", folder, "--output", tmp_path / "store", "--dry-run")
    assert done.exit_code == 0
    assert done.stdout.startswith("would pack ")
    assert "10 classes" in done.stdout
    told = json.loads(mae("pack", folder, "--output", tmp_path / "s", "--dry-run", "--json").stdout)
    assert told["bytes"] == 120 * 28 * 28 * 3
    assert sorted(tmp_path.rglob("*")) == before


def test_packing_again_is_done_at_once(folder, tmp_path):
    pack(folder, tmp_path / "store")
    before = (tmp_path / "store" / "pixels.bin").stat().st_mtime_ns
    assert pack(folder, tmp_path / "store")["status"] == "completed"
    assert (tmp_path / "store" / "pixels.bin").stat().st_mtime_ns == before
    done = mae("pack", folder, "--output", tmp_path / "store", "--size", "20")
    assert done.exit_code == 2
    assert "exists; remove it, or name another" in done.stderr


def test_a_store_that_does_not_fit_on_the_disk_is_refused_first(folder, tmp_path, monkeypatch):
    few = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: few)
    done = mae("pack", folder, "--output", tmp_path / "store")
    assert done.exit_code == 2
    assert "make room, or ask for a smaller --size" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["images"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["pack"], "name a SOURCE and a STORE"),
        (["pack", "a", "--verify", "b"], "--verify STORE goes without SOURCE"),
        (["pack", "/nowhere", "--output", "s"], "'/nowhere' is not a directory"),
        (["pack", "samlpe", "--output", "s"], "did you mean 'sample'"),
        (["pack", "sample", "--output", "s", "--size", "big"], "--size big: write it as 256"),
        (["pack", "~nosuchuser/x", "--output", "s"], "'~nosuchuser/x': there is no such home"),
        (["pack", "sample", "--output", "~nosuchuser/x"], "~nosuchuser/x: there is no such home"),
        (
            ["pack", "--verify", "/nowhere"],
            "/nowhere/manifest.json: No such file or directory; name",
        ),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = mae(*arguments)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert complaint in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_store_is_not_packed_again(folder, tmp_path):
    pack(folder, tmp_path / "store")
    done = mae("pack", tmp_path / "store", "--output", tmp_path / "again")
    assert done.exit_code == 2
    assert "is packed already" in done.stderr


@given(st.lists(st.integers(0, 99), max_size=6), st.data())
def test_a_journal_cut_anywhere_tells_of_whole_chunks_only(sizes, data):
    lines = [{"bytes": n, "sha256": "ab"} for n in sizes]
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    ends = [n for n, byte in enumerate(text) if byte == ord("\n")]
    cut = data.draw(st.integers(0, len(text)) | st.sampled_from(ends or [0]))
    size = data.draw(st.integers(0, sum(sizes)))
    whole = text[:cut].count(b"\n")
    fitting = max(n for n in range(whole + 1) if sum(sizes[:n]) <= size)
    assert sound_lines(text[:cut], size) == lines[:fitting]


@pytest.mark.parametrize("line", [b"5", b"{}", b'{"bytes": "9"}', b"\0\0\0"])
def test_a_line_of_the_journal_that_makes_no_sense_ends_what_is_kept(line):
    whole = b'{"bytes": 3}\n'
    assert sound_lines(whole + line + b"\n" + whole, 99) == [{"bytes": 3}]


def test_a_pause_keeps_whole_chunks_and_going_on_redoes_none(folder, tmp_path, small_chunks):
    task = Task(list_source(str(folder)), tmp_path / "store", 20, 3)
    seen: list[int] = []

    def run(reason_at: int) -> dict:
        seen.clear()
        return packing.pack(
            task, 0, True, lambda: "deadline" if len(seen) >= reason_at else None, print,
            seen.append,
        )  # fmt: skip

    paused = run(reason_at=17)
    assert paused == {"status": "paused", "reason": "deadline", "images": 14}
    assert not task.output.exists()
    assert run(reason_at=1000)["resumed_chunks"] == 2
    assert seen[0] == 15
    pack(folder, tmp_path / "whole", "--size", "20")
    assert contents(task.output) == contents(tmp_path / "whole")
    assert not task.work.exists()


def test_what_a_kill_left_of_the_last_steps_is_taken_away(folder, tmp_path):
    pack(folder, tmp_path / "store")
    whole, work = contents(tmp_path / "store"), tmp_path / ".tmp-store"
    work.mkdir()  # the kill came after the rename
    assert pack(folder, tmp_path / "store")["status"] == "completed"
    assert not work.exists()
    shutil.rmtree(tmp_path / "store")
    (work / "store").mkdir(parents=True)
    (work / "store" / ".tmp-index.npy.1").write_bytes(b"half")  # or while the index was written
    pack(folder, tmp_path / "store")
    assert contents(tmp_path / "store") == whole


def test_another_size_begins_anew(folder, tmp_path, small_chunks):
    listing, output = list_source(str(folder)), tmp_path / "store"
    seen: list[int] = []
    stop = lambda: "SIGTERM" if len(seen) > 20 else None  # noqa: E731
    packing.pack(Task(listing, output, 20, 3), 0, True, stop, print, seen.append)
    assert (
        packing.pack(Task(listing, output, 24, 3), 0, True, lambda: None, print, seen.append)[
            "resumed_chunks"
        ]
        == 0
    )
    pack(folder, tmp_path / "whole", "--size", "24")
    assert contents(output) == contents(tmp_path / "whole")


def test_a_worker_that_is_killed_is_told_of(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("mae.data.packing.pack_image", lambda *_: os._exit(9))
    task = Task(list_source(str(folder)), tmp_path / "store", 20, 3)
    with pytest.raises(TrainingFailed, match="a worker was killed"):
        packing.pack(task, 2, True, lambda: None, print, print)


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("workers", [0, 2])
def test_kill_9_at_any_moment_changes_no_byte_of_the_store(folder, tmp_path, monkeypatch, workers):
    """Chunks of three images follow each other without a pause; some kills hit the last steps."""
    monkeypatch.setattr(pack_plan, "CHUNK_IMAGES", 3)
    store = tmp_path / "store"
    command = [
        sys.executable, "-m", "mae", "pack", str(folder), "--output", str(store), "--json",
        "--workers", str(workers),
    ]  # fmt: skip
    whole = [*command]
    whole[whole.index(str(store))] = str(tmp_path / "whole")
    forked.run(whole, check=True)
    journal, moments, kept = tmp_path / ".tmp-store" / "journal.jsonl", random.Random(3), 0
    kills = 0
    while not store.exists():
        process = forked.Forked(command, None, subprocess.PIPE, subprocess.PIPE)
        give_up = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < give_up:
            if journal.exists() and journal.read_bytes().count(b"\n") > kept:
                break
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        lines = journal.read_bytes().count(b"\n") if journal.exists() else 40
        assert lines >= kept, "what was on the disk is kept"
        kept = lines
    assert kills > 0
    last = forked.run(command, check=True)
    assert json.loads(last.stdout)["status"] == "completed"
    assert contents(store) == contents(tmp_path / "whole")
    assert not (tmp_path / ".tmp-store").exists()


@pytest.mark.slow
@pytest.mark.fault
def test_workers_leave_with_a_killed_parent(tmp_path, sample_directory):
    psutil = pytest.importorskip("psutil")
    code = (
        "import time, mae.data.packing as p\n"
        "make = p.pack_image\n"
        "p.pack_image = lambda *a: (time.sleep(0.05), make(*a))[1]\n"
        "from mae.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "pack", str(sample_directory), "--workers", "2"]
    process = subprocess.Popen([*command, "--output", str(tmp_path / "store")])
    parent = psutil.Process(process.pid)
    give_up = time.monotonic() + 30
    while len(parent.children()) < 2 and time.monotonic() < give_up:
        time.sleep(0.02)
    workers = parent.children()
    assert len(workers) == 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []


def test_the_docs_tell_of_every_option_and_of_the_whole_manifest(folder, tmp_path):
    docs = (Path(__file__).parents[2] / "docs" / "mae.md").read_text()
    for option in (name for p in main.commands["pack"].params for name in p.opts):
        assert option == "source" or option in docs
    pack(folder, tmp_path / "store")
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    (line,) = (line for line in docs.splitlines() if line.startswith("manifest.json   {"))
    assert [key for key in manifest if f'"{key}"' not in line] == []
