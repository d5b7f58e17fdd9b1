"""Archives of strangers: none escapes, each is refused with a word on why; honest ones come out as they were packed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from backend.archives import BadArchive, check_entry, decode_name, find_kind, unpack
from tests.storage.hostile_archives import DATA, HOSTILE, REG, tar_of, zip_of

MOST = 256 << 20
SMALL = 8 << 20


def _unpack(archive: Path, target: Path, name: str = "data.zip", most_bytes: int = MOST) -> None:
    kind = find_kind(archive)
    assert kind is not None
    unpack(archive, kind, name, target, most_bytes=most_bytes, on_progress=lambda fraction, files: None)


def _list(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_there_are_at_least_forty() -> None:
    assert len(HOSTILE) >= 40


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_and_nothing_escapes(tmp_path: Path, case: str) -> None:
    make, word = HOSTILE[case]
    inner = tmp_path / "one" / "two"
    inner.mkdir(parents=True)
    archive = inner / "archive"
    make(archive)
    most = SMALL if "larger" in case else MOST
    with pytest.raises(BadArchive) as caught:
        _unpack(archive, inner / "target", most_bytes=most)
    assert word in caught.value.detail
    assert caught.value.detail.isprintable()
    assert caught.value.detail_zh
    assert caught.value.detail_zh.isprintable()
    outside = [
        path for path in tmp_path.rglob("*") if path.is_file() and inner / "target" not in path.parents
    ]
    assert outside == [archive]
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]
    assert not list(Path("/tmp").glob("evil*"))


@pytest.mark.parametrize(
    "name",
    ["..", "a/..", "../", "/", "\\", "//x", "C:/x", "z:", "a/../../b", "\x00", "a\x7f", "\udc80", "\u2066x"],
)
def test_a_hostile_name_alone_is_refused_or_says_nothing(name: str) -> None:
    if name in ("/", "\\", "//x"):
        name += "x"
    with pytest.raises(BadArchive):
        check_entry(name)


def test_one_folder_around_everything_is_left_out(tmp_path: Path) -> None:
    zip_of(
        "QA/data.json", "QA/images/1.png", "__MACOSX/QA/._data.json", "QA/.DS_Store", "QA/images/Thumbs.db"
    )(tmp_path / "a.zip")
    _unpack(tmp_path / "a.zip", tmp_path / "out")
    assert _list(tmp_path / "out") == ["data.json", "images/1.png"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == ["out"]


def test_a_folder_of_the_same_name_inside_is_kept(tmp_path: Path) -> None:
    zip_of("data/data/data.json", "data/x.json")(tmp_path / "a.zip")
    _unpack(tmp_path / "a.zip", tmp_path / "data")
    assert _list(tmp_path / "data") == ["data/data.json", "x.json"]


def test_names_as_windows_in_chinese_writes_them(tmp_path: Path) -> None:
    plain = "x" * len("图片/数据.json".encode("gbk"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr(plain, DATA)
    packed = (tmp_path / "a.zip").read_bytes().replace(plain.encode(), "图片/数据.json".encode("gbk"))
    (tmp_path / "a.zip").write_bytes(packed)
    _unpack(tmp_path / "a.zip", tmp_path / "out")
    assert _list(tmp_path / "out") == ["数据.json"]
    assert decode_name("数据".encode()) == "数据"
    assert decode_name(b"\xff\xfe") == b"\xff\xfe".decode("cp437")


def test_backslashes_of_windows_are_folders(tmp_path: Path) -> None:
    zip_of("images\\1.png", "data.json")(tmp_path / "a.zip")
    _unpack(tmp_path / "a.zip", tmp_path / "out")
    assert _list(tmp_path / "out") == ["data.json", "images/1.png"]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tars_of_every_kind_come_out_as_they_were(tmp_path: Path, mode: str) -> None:
    tar_of(("./数据/data.json", DATA, REG), ("./数据/run.sh", b"x", REG), mode=mode)(tmp_path / "a.tar")
    assert find_kind(tmp_path / "a.tar") == "tar"
    _unpack(tmp_path / "a.tar", tmp_path / "out")
    assert _list(tmp_path / "out") == ["data.json", "run.sh"]
    assert (tmp_path / "out" / "data.json").read_bytes() == DATA
    assert (tmp_path / "out" / "run.sh").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_one_packed_file_is_named_by_its_archive(tmp_path: Path, suffix: str, pack: object) -> None:
    assert callable(pack)
    (tmp_path / "a").write_bytes(pack(DATA))
    _unpack(tmp_path / "a", tmp_path / "out", f"rows.jsonl.{suffix}")
    assert _list(tmp_path / "out") == ["rows.jsonl"]
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == DATA


def test_what_is_no_archive_is_none(tmp_path: Path) -> None:
    for content in (DATA, b"", b"PAR1", b"PK"):
        (tmp_path / "a").write_bytes(content)
        assert find_kind(tmp_path / "a") is None


def test_many_entries_of_a_tar_take_no_memory_for_each(tmp_path: Path) -> None:
    tar_of(*((f"{number}.txt", b"x", REG) for number in range(3000)))(tmp_path / "a.tgz")
    _unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert len(_list(tmp_path / "out")) == 3000
    with tarfile.open(tmp_path / "a.tgz") as opened:
        assert len(opened.getmembers()) == 3000
