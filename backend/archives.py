"""Unpacking archives of strangers: nothing lands outside of the folder, nothing but files and folders, and no more of
them than was allowed. An archive that tries is refused whole, with a message that names the entry.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from backend.domain.errors import TuneforgeError
from backend.domain.file_names import MAX_DEPTH, find_name_fault

MAX_ENTRIES = 1_000_000
MAX_RATIO = 250
"""Text packs up to a hundredfold; what grows more than this, above `_RATIO_FROM` bytes, is a bomb."""
MAX_PATH_BYTES = 1024
_RATIO_FROM = 64 << 20
_BLOCK = 1 << 20
_SKIPPED = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_ENCRYPTED, _UTF8 = 0x1, 0x800

Kind = Literal["zip", "tar", "gz", "bz2", "xz"]
Progress = Callable[[float, int], None]
"""Called with the fraction done and the number of files so far; may raise to end the unpacking."""


class BadArchive(TuneforgeError):
    """The archive cannot, or shall not, be unpacked; the text says why and what to do."""

    code = "bad_archive"
    status = 422
    title = "The archive cannot be unpacked"


def find_kind(path: Path) -> Kind | None:
    """Return what kind of archive the file is, by its first bytes, or None when it is none."""
    with path.open("rb") as file:
        head = file.read(512)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if head[257:262] == b"ustar":
        return "tar"
    packed: dict[bytes, Kind] = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
    for mark, kind in packed.items():
        if head.startswith(mark):
            return "tar" if _holds_tar(path, kind) else kind
    if head.startswith((b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!")):
        raise BadArchive(
            "Archives of the kinds zst, 7z and rar are not read here. Pack it as zip or tar.gz.",
            zh="不支持 zst、7z、rar 压缩包，请改用 zip 或 tar.gz 打包。",
        )
    return None


def _holds_tar(path: Path, kind: Kind) -> bool:
    try:
        with _open_packed(path, kind) as file:
            return file.read(512)[257:262] == b"ustar"
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return False


def _open_packed(path: Path, kind: Kind) -> IO[bytes]:
    if kind == "gz":
        return gzip.open(path)  # type: ignore[return-value]
    return bz2.open(path) if kind == "bz2" else lzma.open(path)


def unpack(
    archive: Path, kind: Kind, name: str, target: Path, *, most_bytes: int, on_progress: Progress
) -> None:
    """Unpack into the new folder `target`; one folder that holds all the rest is left out.

    `name` is what a person called the archive: a single packed file is named by it. At most `most_bytes` are written.
    Raises BadArchive.
    """
    target.mkdir(parents=True, mode=0o700)
    room = _Room(target, most_bytes, archive.stat().st_size, on_progress)
    try:
        if kind == "zip":
            _unpack_zip(archive, room)
        elif kind == "tar":
            _unpack_tar(archive, room)
        else:
            _unpack_single(archive, kind, name, room)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        gzip.BadGzipFile,
    ) as error:
        raise _refuse_damaged(error) from error
    except (struct.error, ValueError, OverflowError, NotImplementedError, RuntimeError) as error:
        raise _refuse_damaged(error) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _refuse_damaged(error) from error  # bz2 and gzip say so what is wrong with the data
    if not room.files:
        raise BadArchive("The archive holds no files.", zh="压缩包中没有文件。")
    _strip_top_folder(target)


@dataclass
class _Room:
    """The folder that is filled, and what may still go into it."""

    target: Path
    most_bytes: int
    archive_bytes: int
    on_progress: Progress
    written: int = 0
    files: int = 0
    seen: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    def enter(self, name: str, *, is_folder: bool) -> Path | None:
        """Return where an entry goes, or None for one that is passed over; its name may be anything."""
        parts = check_entry(name)
        if not parts or parts[0] == "__MACOSX" or parts[-1] in _SKIPPED or parts[-1].startswith("._"):
            return None
        if len(self.seen) + len(self.folders) >= MAX_ENTRIES:
            raise BadArchive(
                f"The archive holds more than {MAX_ENTRIES} entries. Split it.",
                zh=f"压缩包中的条目超过 {MAX_ENTRIES} 个，请拆分后上传。",
            )
        for depth in range(1, len(parts)):
            self._note_folder("/".join(parts[:depth]))
        path = "/".join(parts)
        if is_folder:
            self._note_folder(path)
            return None
        key = path.casefold()
        if key in self.seen or key in self.folders:
            other = self.seen.get(key, path)
            raise BadArchive(
                f"Two entries have one name: {_show(other)} and {_show(path)}. Rename one (capitals do not count).",
                zh=f"有两个条目同名：{_show(other)} 与 {_show(path)}。请重命名其中一个（不区分大小写）。",
            )
        self.seen[key] = path
        return self.target.joinpath(*parts)

    def _note_folder(self, path: str) -> None:
        key = path.casefold()
        if key in self.seen:
            raise BadArchive(
                f"{_show(path)} is a file and a folder at once.", zh=f"{_show(path)} 既是文件又是文件夹。"
            )
        self.folders.add(key)

    def write(self, source: IO[bytes], path: Path, fraction: Callable[[], float]) -> None:
        """Write one file, counting what really comes, whatever its header said."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("xb") as file:
            while block := source.read(_BLOCK):
                self.written += len(block)
                self._check_size()
                file.write(block)
                self.on_progress(fraction(), self.files)
        path.chmod(0o600)
        self.files += 1
        self.on_progress(fraction(), self.files)

    def _check_size(self) -> None:
        if self.written > self.most_bytes:
            raise BadArchive(
                f"Unpacked it is larger than what is left of your space ({self.most_bytes} bytes). "
                "Delete what you do not need, or ask an administrator for more.",
                zh=f"解压后的大小超过您剩余的空间（{self.most_bytes} 字节）。请删除不需要的内容，或联系管理员增加配额。",
                code="quota_exceeded",
            )
        if self.written > _RATIO_FROM and self.written > MAX_RATIO * self.archive_bytes:
            raise BadArchive(
                f"The archive grows more than {MAX_RATIO}-fold when it is unpacked; such are refused as bombs.",
                zh=f"解压后体积超过原来的 {MAX_RATIO} 倍，视为“压缩炸弹”而拒绝。",
            )


def check_entry(name: str) -> tuple[str, ...]:
    """Return the parts of an entry's name; raises BadArchive for one that leads out of the folder or cannot be."""
    if name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":" and name[0].isascii()):
        raise _refuse_name(name, "it is an absolute path", "是绝对路径")
    parts = [
        part
        for part in unicodedata.normalize("NFC", name).replace("\\", "/").split("/")
        if part not in ("", ".")
    ]
    if ".." in parts:
        raise _refuse_name(name, "it leads out of the folder", "指向文件夹之外")
    if len(parts) > MAX_DEPTH or len(name.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES:
        raise _refuse_name(name, "it is too long or too deep", "过长或层数过多")
    for part in parts:
        fault = find_name_fault(part)
        if fault:
            raise _refuse_name(name, *fault)
    return tuple(parts)


def _show(name: str) -> str:
    """Return a name that may be anything so that it can be shown."""
    plain = "".join(letter if letter.isprintable() else "\ufffd" for letter in name[:120])
    return f"“{plain}{'…' if len(name) > 120 else ''}”"


def _refuse_name(name: str, why: str, why_zh: str) -> BadArchive:
    return BadArchive(
        f"The archive holds an entry that cannot be taken, {_show(name)}: {why}. Pack it again without it.",
        zh=f"压缩包中的条目 {_show(name)} 无法接受：{why_zh}。请去掉它后重新打包。",
    )


def _refuse_link(name: str) -> BadArchive:
    return BadArchive(
        f"The archive holds a link or a device, {_show(name)}. Pack the files themselves.",
        zh=f"压缩包中有链接或设备文件 {_show(name)}，请直接打包文件本身。",
    )


def _refuse_damaged(error: Exception) -> BadArchive:
    return BadArchive(
        f"The archive is damaged, or packed in a way that is not read here ({type(error).__name__}). Pack it again.",
        zh=f"压缩包已损坏，或使用了不支持的压缩方式（{type(error).__name__}）。请重新打包后上传。",
    )


# -- zip ---------------------------------------------------------------------------------------------------


def _unpack_zip(archive: Path, room: _Room) -> None:
    with zipfile.ZipFile(archive) as opened:
        entries = opened.infolist()
        total = sum(entry.file_size for entry in entries) or 1
        for entry in entries:
            name = _read_zip_name(entry)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refuse_link(name)
            path = room.enter(name, is_folder=entry.is_dir() or name.endswith("\\"))
            if path is None:
                continue
            if entry.flag_bits & _ENCRYPTED:
                raise BadArchive(
                    "The archive is protected by a password. Pack it again without one.",
                    zh="压缩包设有密码，请去掉密码后重新打包。",
                )
            with opened.open(entry) as source:
                room.write(source, path, lambda: min(1.0, room.written / total))


def _read_zip_name(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name: in UTF-8 where the zip says so or it can be, else GBK, as Chinese Windows writes."""
    if entry.flag_bits & _UTF8:
        return entry.orig_filename
    raw = entry.orig_filename.encode("cp437")
    return _find_unicode_name(entry, raw) or decode_name(raw)


def _find_unicode_name(entry: zipfile.ZipInfo, raw: bytes) -> str | None:
    """Return the name of the Info-ZIP Unicode Path field (0x7075), if there is one that is meant for this name."""
    extra = entry.extra
    while len(extra) >= 4:
        number, size = struct.unpack("<HH", extra[:4])
        value = extra[4 : 4 + size]
        if number == 0x7075 and len(value) > 5 and struct.unpack("<I", value[1:5])[0] == zlib.crc32(raw):
            try:
                return value[5:].decode("utf-8")
            except UnicodeDecodeError:
                return None
        extra = extra[4 + size :]
    return None


def decode_name(raw: bytes) -> str:
    """Return a name of unknown encoding as text: UTF-8, else GB 18030, else what each byte means in code page 437."""
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("cp437")


# -- tar, and single files ---------------------------------------------------------------------------------


def _unpack_tar(archive: Path, room: _Room) -> None:
    with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*", errors="surrogateescape") as opened:

        def measure() -> float:
            return min(1.0, raw.tell() / room.archive_bytes)

        for member in _iterate(opened):
            name = decode_name(member.name.encode("utf-8", "surrogateescape"))
            if not member.isfile() and not member.isdir():
                raise _refuse_link(name)
            path = room.enter(name, is_folder=member.isdir())
            source = opened.extractfile(member) if path is not None else None
            if path is not None and source is not None:
                room.write(source, path, measure)


def _iterate(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members without keeping them: a million would take a gigabyte."""
    count = 0
    while (member := opened.next()) is not None:
        opened.members = []  # type: ignore[attr-defined]
        count += 1
        if count > MAX_ENTRIES:
            raise BadArchive(
                "The archive holds too many entries. Split it.", zh="压缩包条目过多，请拆分后上传。"
            )
        yield member


def _unpack_single(archive: Path, kind: Kind, name: str, room: _Room) -> None:
    inner = PurePosixPath(name).name
    suffix = f".{kind}"
    inner = inner[: -len(suffix)] if inner.lower().endswith(suffix) else inner
    path = room.enter(inner or "data", is_folder=False) or room.target / "data"
    with _open_packed(archive, kind) as source:
        room.write(source, path, lambda: 0.5)


def _strip_top_folder(target: Path) -> None:
    """A folder that holds everything says nothing: its content takes its place."""
    entries = list(target.iterdir())
    if len(entries) != 1 or not entries[0].is_dir():
        return
    top = entries[0].rename(target.with_name(target.name + ".top"))
    target.rmdir()
    shutil.move(top, target)
