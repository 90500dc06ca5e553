"""What somebody else made, and meant no good by: one line, nothing run, nothing obeyed."""

import io
import json
import os
import struct
import tarfile

import pytest
from click.testing import CliRunner
from PIL import EpsImagePlugin

from mae.cli import main
from mae.config_file import parse_setting, read_config
from mae.data.idx import read_idx
from mae.data.listing import list_source
from mae.data.packing import pack_image
from mae.data.shards import Member
from mae.data.store import read_manifest
from mae.errors import BadInput
from mae.files import appearing, refuse_unwritable, write_atomically
from mae.train import checkpoint as checkpoints
from mae.train.campaign import Campaign, read_history
from mae.train.divergence import read_skipped

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n"
DEEP = "[" * 100_000
ESCAPES = "\x1b]0;owned\x07\n\u202e"


@pytest.mark.parametrize(
    "shape", [(2**16,) * 4, (1,) * 200, (0, 2**32 - 1, 2**32 - 1), (2**32 - 1,) * 3]
)
def test_a_header_that_promises_more_than_there_can_be_is_named(tmp_path, shape):
    path = tmp_path / "idx"
    path.write_bytes(struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape))
    with pytest.raises(BadInput, match="promises shape"):
        read_idx(path)


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 6000])
def test_a_config_that_no_reader_takes_is_named(tmp_path, value):
    path = tmp_path / "c.toml"
    path.write_text(f"[recipe]\nsteps = {value}\n")
    with pytest.raises(BadInput, match="not TOML"):
        read_config(str(path))
    assert parse_setting(f"recipe.steps={value}", "a.b=1") == ("recipe.steps", value)


def test_json_that_nests_without_end_is_no_manifest_and_no_history(tmp_path):
    campaign = Campaign(tmp_path)
    for name in ("manifest.json", "metrics.jsonl", "skipped.json"):
        (tmp_path / name).write_text(DEEP)
    assert read_history(campaign) == []
    for read in (read_manifest, checkpoints.read):
        with pytest.raises(BadInput, match=r"not (a|the) manifest"):
            read(tmp_path)
    with pytest.raises(BadInput, match="not the skipped steps"):
        read_skipped(campaign.skipped)


@pytest.mark.timeout(20)
def test_a_checkpoint_of_pipes_is_not_waited_for(tmp_path):
    for name in (checkpoints.WEIGHTS, checkpoints.STATE):
        os.mkfifo(tmp_path / name)
    files = {name: {"bytes": 0, "sha256": "0"} for name in (checkpoints.WEIGHTS, checkpoints.STATE)}
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "step": 1, "files": files}))
    with pytest.raises(BadInput, match="not the 0 bytes"):
        checkpoints.read(tmp_path, hashes=True)


def test_no_program_is_run_that_comes_as_a_picture(folder, tmp_path, monkeypatch):
    """Pillow has Ghostscript run PostScript, whatever the file's name is."""
    ghostscript, ran = tmp_path / "bin" / "gs", tmp_path / "ran"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {ran}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ghostscript.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    picture = sorted(folder.rglob("*.png"))[0]
    picture.write_bytes(EPS)

    listing = list_source(str(folder))
    made = pack_image(listing, listing.names.index(str(picture.relative_to(folder))), 28, 1)

    assert isinstance(made, str)
    assert "PostScript" in made
    assert not ran.exists()


@pytest.mark.parametrize("size", [2**50, -1])
def test_an_image_of_a_shard_is_no_larger_than_the_shard(tmp_path, size, monkeypatch):
    monkeypatch.setattr(
        "mae.data.listing.members_of",
        lambda shard: [Member(shard, f"{n}.png", f"{n}", 0, size, None) for n in range(40)],
    )
    (tmp_path / "a.tar").write_bytes(b"\0" * 10_240)
    made = pack_image(list_source(str(tmp_path)), 0, 28, 1)
    assert made == "the shard tells a size that its bytes do not have"


def test_names_in_a_shard_are_shown_and_not_obeyed(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for name in (f"a{ESCAPES}.png", "b.png", "b.cls"):
            shard.addfile(tarfile.TarInfo(name), io.BytesIO())
    command = ["pack", str(tmp_path), "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert r"a\x1b]0;owned\x07\n\u202e.cls is missing" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr[:-1].isprintable()


def test_a_link_planted_at_a_temporary_name_is_not_followed(tmp_path):
    """Where a directory is others' to write as well."""
    theirs, made = tmp_path / "theirs", tmp_path / "made"
    theirs.write_text("kept")
    places = {name: tmp_path / f".tmp-{name}.{os.getpid()}" for name in ("a", "b", "c")}
    for name, place in places.items():
        place.symlink_to(made if name == "c" else theirs)

    write_atomically(tmp_path / "a", b"x")
    with appearing(tmp_path / "b") as temporary:
        temporary.write_bytes(b"x")
    refuse_unwritable(tmp_path / "c")

    assert theirs.read_text() == "kept"
    assert not made.exists()
    assert not any(os.path.lexists(place) for place in places.values())
    assert [(tmp_path / name).read_bytes() for name in ("a", "b")] == [b"x", b"x"]
