"""Archives that try something: each entry of `HOSTILE` makes one file and says with which word it is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

Make = Callable[[Path], None]
DATA = b'[{"instruction": "a", "output": "b"}]'


def zip_of(*names: str, data: bytes = DATA) -> Make:
    """Return what makes a zip with these entries."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            for name in names:
                info = zipfile.ZipInfo("x")
                info.filename = name  # as it is: the constructor would tidy it
                made.writestr(info, data, zipfile.ZIP_DEFLATED)

    return make


def zip_with_mode(name: str, mode: int, content: bytes) -> Make:
    """Return what makes a zip with an entry of a Unix mode, such as a link's."""

    def make(path: Path) -> None:
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = mode << 16
        with zipfile.ZipFile(path, "w") as made:
            made.writestr(info, content)

    return make


def zip_flagged(path: Path) -> None:
    """Make a zip that says its one entry is encrypted."""
    zip_of("data.json")(path)
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))


def zip_method(number: int) -> Make:
    """Return what makes a zip with a method of compression that nobody here knows."""

    def make(path: Path) -> None:
        zip_of("data.json")(path)
        content = bytearray(path.read_bytes())
        content[8:10] = struct.pack("<H", number)
        place = content.index(b"PK\x01\x02") + 10
        content[place : place + 2] = struct.pack("<H", number)
        path.write_bytes(bytes(content))

    return make


def zip_cut(path: Path) -> None:
    """Make a zip whose end is missing."""
    zip_of("data.json", data=bytes(range(256)) * 50)(path)
    path.write_bytes(path.read_bytes()[:-100])


def zip_bad_checksum(path: Path) -> None:
    """Make a zip in which a byte of the data turned."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as made:
        made.writestr("data.json", DATA)
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"z"', 1))


def zip_lying_size(path: Path) -> None:
    """Make a zip whose entry says that it is small and is not."""
    zip_of("data.json", data=b"0" * 3_000_000)(path)
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 3_000_000), struct.pack("<I", 10)))


def zip_bomb(path: Path) -> None:
    """Make a zip that grows a thousandfold, to 128 MiB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made, made.open("data.json", "w") as entry:
        for _ in range(128):
            entry.write(b"\0" * (1 << 20))


def zip_overlapping(path: Path) -> None:
    """Make a zip whose entries all speak of one piece of data, as the well-known bomb does."""
    zip_of(*(f"{number}.json" for number in range(50)))(path)
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    while content[place : place + 4] == b"PK\x01\x02":
        content[place + 42 : place + 46] = struct.pack("<I", 0)
        lengths = struct.unpack("<HHH", content[place + 28 : place + 34])
        place += 46 + sum(lengths)
    path.write_bytes(bytes(content))


def tar_of(*members: tuple[str, bytes | None, bytes], mode: str = "w:gz") -> Make:
    """Return what makes a tar of (name, content or None, type); a link's content is where it points."""

    def make(path: Path) -> None:
        with tarfile.open(path, mode) as made:  # type: ignore[call-overload]
            for name, content, kind in members:
                info = tarfile.TarInfo(name)
                info.type = kind
                if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                    info.linkname = (content or b"").decode()
                    made.addfile(info)
                else:
                    info.size = len(content or b"")
                    made.addfile(info, io.BytesIO(content or b""))

    return make


def tar_bomb(path: Path) -> None:
    """Make a tar.gz that grows a thousandfold, to 128 MiB."""
    tar_of(("data.json", b"\0" * (128 << 20), tarfile.REGTYPE))(path)


def tar_sparse(path: Path) -> None:
    """Make a tar with a sparse file of 1 TiB in a few bytes."""
    info = tarfile.TarInfo("data.json")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40)}
    content = b"0\n".ljust(512, b"\0")
    info.size = len(content)
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as made:
        made.addfile(info, io.BytesIO(content))


def tar_cut(path: Path) -> None:
    """Make a tar.gz whose end is missing."""
    tar_of(("data.json", bytes(range(256)) * 500, tarfile.REGTYPE))(path)
    path.write_bytes(path.read_bytes()[:-50])


def written(content: bytes) -> Make:
    """Return what makes a file of these bytes."""
    return lambda path: path.write_bytes(content) and None


REG, SYM, LNK = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE: dict[str, tuple[Make, str]] = {
    "zip: up": (zip_of("../evil.json"), "out of the folder"),
    "zip: far up": (zip_of("a/../../../../../../tmp/evil.json"), "out of the folder"),
    "zip: up in the middle": (zip_of("a/../b.json"), "out of the folder"),
    "zip: absolute": (zip_of("/etc/evil.json"), "absolute"),
    "zip: drive": (zip_of("C:\\evil.json"), "absolute"),
    "zip: drive, relative": (zip_of("c:evil.json"), "absolute"),
    "zip: share": (zip_of("\\\\server\\share\\evil.json"), "absolute"),
    "zip: backslashes up": (zip_of("..\\..\\evil.json"), "out of the folder"),
    "zip: mixed slashes up": (zip_of("a\\../..\\evil.json"), "out of the folder"),
    "zip: line feed": (zip_of("a\nb.json"), "control"),
    "zip: escape sequence": (zip_of("\x1b[2Jdata.json"), "control"),
    "zip: turned reading": (zip_of("\u202egnp.json"), "control"),
    "zip: long name": (zip_of("x" * 300 + ".json"), "too long"),
    "zip: long Chinese name": (zip_of("数" * 100 + ".json"), "too long"),
    "zip: deep": (zip_of("/".join(["d"] * 30) + "/data.json"), "too deep"),
    "zip: blank name": (zip_of("a/ /data.json"), "missing"),
    "zip: the same twice": (zip_of("data.json", "data.json"), "one name"),
    "zip: the same in capitals": (zip_of("data.json", "DATA.JSON"), "one name"),
    "zip: the same composed": (zip_of("caf\u00e9.json", "cafe\u0301.json"), "one name"),
    "zip: a file, then a folder": (zip_of("a", "a/b.json"), "file and a folder"),
    "zip: a folder, then a file": (zip_of("a/b.json", "A"), "one name"),
    "zip: link": (zip_with_mode("data.json", 0o120777, b"/etc/passwd"), "link"),
    "zip: device": (zip_with_mode("data.json", 0o020666, b""), "link"),
    "zip: pipe": (zip_with_mode("data.json", 0o010666, b""), "link"),
    "zip: encrypted": (zip_flagged, "password"),
    "zip: unknown compression": (zip_method(99), "damaged"),
    "zip: deflate64": (zip_method(9), "damaged"),
    "zip: cut": (zip_cut, "damaged"),
    "zip: turned byte": (zip_bad_checksum, "damaged"),
    "zip: lying size": (zip_lying_size, "damaged"),
    "zip: bomb": (zip_bomb, "-fold"),
    "zip: overlapping": (zip_overlapping, "damaged"),
    "zip: nothing in it": (zip_of(), "no files"),
    "zip: rubbish of a Mac only": (zip_of("__MACOSX/._a", ".DS_Store"), "no files"),
    "zip: larger than allowed": (zip_of("a.json", data=bytes(range(256)) * 40_000), "larger than"),
    "zip: larger in sum": (zip_of(*(f"{n}.json" for n in range(30)), data=bytes(400_000)), "larger than"),
    "zip: only its first bytes": (written(b"PK\x03\x04"), "damaged"),
    "tar: up": (tar_of(("../evil.json", DATA, REG)), "out of the folder"),
    "tar: absolute": (tar_of(("/tmp/evil.json", DATA, REG)), "absolute"),
    "tar: link out": (tar_of(("l", b"/etc/passwd", SYM)), "link"),
    "tar: link, then through it": (tar_of(("l", b"/tmp", SYM), ("l/evil.json", DATA, REG)), "link"),
    "tar: hard link": (tar_of(("data.json", DATA, REG), ("l", b"../../secret", LNK)), "link"),
    "tar: link inside": (tar_of(("data.json", DATA, REG), ("l", b"data.json", SYM)), "link"),
    "tar: device": (tar_of(("d", b"", tarfile.CHRTYPE)), "link"),
    "tar: block device": (tar_of(("d", b"", tarfile.BLKTYPE)), "link"),
    "tar: pipe": (tar_of(("d", b"", tarfile.FIFOTYPE)), "link"),
    "tar: the same twice": (tar_of(("a.json", DATA, REG), ("a.json", DATA, REG)), "one name"),
    "tar: a file, then below it": (tar_of(("a", DATA, REG), ("a/b", DATA, REG)), "file and a folder"),
    "tar: bomb": (tar_bomb, "-fold"),
    "tar: sparse": (tar_sparse, ""),
    "tar: cut": (tar_cut, "damaged"),
    "tar.bz2: up": (tar_of(("../evil.json", DATA, REG), mode="w:bz2"), "out of the folder"),
    "tar.xz: link": (tar_of(("l", b"/etc/passwd", SYM), mode="w:xz"), "link"),
    "gz: bomb": (written(gzip.compress(b"\0" * (128 << 20), 9)), "-fold"),
    "gz: cut": (written(gzip.compress(bytes(range(256)) * 500)[:-20]), "damaged"),
    "gz: rubbish after the start": (written(b"\x1f\x8b" + b"\xff" * 100), "damaged"),
    "bz2: bomb": (written(bz2.compress(b"\0" * (128 << 20))), "-fold"),
    "bz2: rubbish": (written(b"BZh9" + b"\x00" * 100), "damaged"),
    "xz: bomb": (written(lzma.compress(b"\0" * (128 << 20))), "-fold"),
    "xz: cut": (written(lzma.compress(bytes(range(256)) * 500)[:-20]), "damaged"),
    "7z": (written(b"7z\xbc\xaf\x27\x1c" + b"\0" * 50), "not read here"),
    "rar": (written(b"Rar!\x1a\x07\x00" + b"\0" * 50), "not read here"),
    "zst": (written(b"\x28\xb5\x2f\xfd" + b"\0" * 50), "not read here"),
}
