"""Tar shards: keys, links, labels, and what is refused before anything is decoded."""

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner

from mae.cli import main
from mae.data.listing import list_source
from mae.data.shards import LABELS, members_of
from mae.data.sources import open_source
from mae.errors import BadInput

Member = tuple[str, bytes | str]  # bytes, or where a symbolic link leads; "=x" for a hard one


def tar(path: Path, members: Iterable[Member]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
                continue
            info.type = tarfile.LNKTYPE if content[0] == "=" else tarfile.SYMTYPE
            info.linkname = content.lstrip("=")
            archive.addfile(info)
    return path


@pytest.fixture
def images(folder: Path) -> list[bytes]:
    """Images of the folder, some more than 40."""
    return [path.read_bytes() for path in sorted(folder.rglob("*.png"))[:50]]


def content_of(shard: Path) -> dict[str, bytes]:
    data = shard.read_bytes()
    return {m.name: data[m.offset : m.offset + m.size] for m in members_of(shard)}


def test_links_are_the_images_and_labels_that_they_lead_to(tmp_path, images):
    members: list[Member] = [
        ("./x/0.png", images[0]), ("./x/0.cls", b"4"),
        ("./x/1.png", "=x/0.png"), ("./x/1.cls", "=./x/0.cls"),
        ("./y/2.png", "../x/3.png"), ("./y/2.cls", "../x/1.cls"),
        ("./x/3.png", images[3]), ("./x/3.cls", b"5"),
    ]  # fmt: skip
    shard = tar(tmp_path / "a.tar", members)
    assert list(content_of(shard).values()) == [images[n] for n in (0, 0, 3, 3)]
    assert [(m.key, m.label) for m in members_of(shard)] == [
        ("./x/0", "4"), ("./x/1", "4"), ("./y/2", "4"), ("./x/3", "5"),
    ]  # fmt: skip


def test_files_that_are_one_on_the_disk_are_all_packed(tmp_path, images):
    """tar stores the second name of a file as a link."""
    folder, shard = tmp_path / "x", tmp_path / "a.tar"
    folder.mkdir()
    for n, image in enumerate(images[:3]):
        (folder / f"{n}.png").write_bytes(image)
        (folder / f"{n}-again.png").hardlink_to(folder / f"{n}.png")
    with tarfile.open(shard, "w") as archive:
        archive.add(folder, "x")
        assert sum(info.islnk() for info in archive) == 3
    whole = {f"x/{path.name}": path.read_bytes() for path in folder.iterdir()}
    assert content_of(shard) == whole


@pytest.mark.parametrize("link", ["=gone.png", "gone.png", "a.png", "/etc/passwd"])
def test_a_link_out_of_a_shard_is_refused_by_name(tmp_path, link):
    shard = tar(tmp_path / "s.tar", [("a.png", link)])
    with pytest.raises(BadInput, match=r"s.tar: a.png is a link to .*, which is not in it; make"):
        members_of(shard)


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        ("a.png", "a has two images, a.png and a.png; make it again"),
        ("a.JPG", "a has two images, a.png and a.JPG; make it again"),
        ("a.cls", "a has two labels, a.cls and a.cls; make it again"),
    ],
)
def test_a_key_that_comes_twice_is_refused_by_name(tmp_path, images, second, complaint):
    members = [("a.png", images[0]), ("a.cls", b"1"), ("b.png", images[1]), ("b.cls", b"2")]
    shard = tar(tmp_path / "s.tar", [*members, (second, images[2])])
    with pytest.raises(BadInput, match=complaint):
        members_of(shard)


def labelled(images: list[bytes], last: str) -> list[Member]:
    labels = [*(str(n) for n in range(len(images) - 1)), last]
    pairs = zip(images, labels, strict=True)
    return [
        member
        for n, (image, label) in enumerate(pairs)
        for member in ((f"{n}.png", image), (f"{n}.cls", label.encode()))
    ]


@pytest.mark.parametrize("label", [str(LABELS), "9" * 20, "9" * 5000])
def test_a_number_that_is_no_label_is_refused_before_anything_is_decoded(tmp_path, images, label):
    shard = tar(tmp_path / "s.tar", labelled(images, label))
    with pytest.raises(BadInput, match=f"s.tar: {len(images) - 1}.cls says {label[:24]}; a label"):
        list_source(str(shard))


@pytest.mark.parametrize("label", [str(LABELS - 1), "0" * 5000 + "7"])
def test_numbers_up_to_there_are_labels(tmp_path, images, label):
    listing = list_source(str(tar(tmp_path / "s.tar", labelled(images, label))))
    assert int(label.lstrip("0")) in listing.labels


def test_a_long_number_among_names_is_a_name(tmp_path, images):
    members = [*labelled(images[:-1], "cat"), ("z.png", images[-1]), ("z.cls", b"9" * 20)]
    assert "9" * 20 in list_source(str(tar(tmp_path / "s.tar", members))).classes


def test_shards_below_train_alone_hold_a_tenth_of_their_own_out(tmp_path, images):
    members = [(f"{n}.png", image) for n, image in enumerate(images)]
    flat = list_source(str(tar(tmp_path / "flat" / "s.tar", members)))
    tar(tmp_path / "source" / "train" / "s.tar", members)
    listing = list_source(str(tmp_path / "source"))
    assert (listing.train, len(listing)) == (flat.train, len(images))
    assert listing.names[0].startswith("train/s.tar/")
    (tmp_path / "source" / "val").mkdir()
    complaint = "train: no JPEG or PNG .*, but .tar shards: .* in one folder, or in train/ and val/"
    with pytest.raises(BadInput, match=complaint):  # not filled yet
        list_source(str(tmp_path / "source"))
    tar(tmp_path / "source" / "val" / "s.tar", members[:7])
    listing = list_source(str(tmp_path / "source"))
    assert (listing.train, len(listing)) == (len(images), len(images) + 7)


def test_a_shard_to_train_on_is_told_to_be_packed(tmp_path, images):
    shard = tar(tmp_path / "s.tar", [("a.png", images[0])])
    with pytest.raises(BadInput, match="a packed store, which `mae pack` makes of shards, or one"):
        open_source(str(shard))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("s.tar.gz", ", but .tar.gz files: unpack them to .tar, for `mae pack`"),
        ("s.tar.zst", ", but .tar.zst files: unpack them to .tar, for `mae pack`"),
        ("s.WebP", ", but .webp files; name a folder that has some"),
        ("README", "in it; name a folder that has some"),
    ],
)
@pytest.mark.parametrize("command", [("pack",), ("pretrain", "--config", "fashion-tiny", "--data")])
def test_what_lies_there_in_place_of_images_is_told(tmp_path, command, name, complaint):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / name).write_bytes(b"")
    arguments = [*command, str(tmp_path / "source"), "--output", str(tmp_path / "made")]
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert complaint in done.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("s.tar.gz", "compressed, and shards are read where they lie; unpack it to .tar first"),
        ("s.tgz", "compressed, and shards are read where they lie; unpack it to .tar first"),
        ("one.jpg", "name a folder of images or idx files, a .tar shard, a directory of them, or"),
    ],
)
def test_what_is_no_source_to_pack_is_told_what_is(tmp_path, images, name, complaint):
    place = tmp_path / name
    place.write_bytes(gzip.compress(images[0]) if "gz" in name else images[0])
    done = CliRunner().invoke(main, ["pack", str(place), "--output", str(tmp_path / "store")])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert complaint in done.stderr
    assert "a packed store" not in done.stderr
    assert list(tmp_path.glob("*store*")) == []
