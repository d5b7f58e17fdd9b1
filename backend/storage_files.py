"""A person's files under TUNEFORGE_HOME, reached by checked names only; links are never followed."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backend.domain.errors import Conflict, NotFound
from backend.settings import get_settings

_BLOCK = 1 << 20
Parts = tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A file or folder as lists show it."""

    name: str
    kind: str
    size_bytes: int
    modified_at: datetime


def get_space(user_id: str) -> Path:
    """Return the folder of a person's files, made when it is not there."""
    folder = get_settings().users_dir / user_id / "files"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def find_path(user_id: str, parts: Parts) -> Path:
    """Return the file or folder of these names; NotFound for what is not there, is a link, or lies behind one."""
    path = get_space(user_id)
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise _say_missing()
    try:
        if path.is_dir() or path.is_file():
            return path
    except (OSError, ValueError):  # a name that is too long for this file system
        pass
    raise _say_missing()


def list_entries(user_id: str, parts: Parts) -> list[Entry]:
    """Return what lies in a folder, folders first, each group by name."""
    folder = find_path(user_id, parts)
    if not folder.is_dir():
        raise _say_missing()
    found = []
    for entry in os.scandir(folder):
        if entry.is_symlink():
            continue
        facts, is_folder = entry.stat(), entry.is_dir()
        moment = datetime.fromtimestamp(facts.st_mtime, UTC)
        found.append(
            Entry(entry.name, "folder" if is_folder else "file", 0 if is_folder else facts.st_size, moment)
        )
    return sorted(found, key=lambda one: (one.kind == "file", one.name.casefold(), one.name))


def measure_space(user_id: str) -> int:
    """Return the bytes of all of a person's files."""
    return measure(get_space(user_id))


def measure(folder: Path) -> int:
    """Return the bytes of all regular files below a folder; links count nothing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            facts = os.lstat(os.path.join(root, name))
            total += facts.st_size if os.path.isfile(os.path.join(root, name)) else 0
    return total


def make_folder(user_id: str, parts: Parts) -> None:
    """Make a folder, and those above it."""
    path = get_space(user_id)
    for part in parts:
        path = path / part
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise Conflict(f"{part!r} is a file already.", zh=f"“{part}”已是一个文件。", code="name_taken")
        path.mkdir(exist_ok=True, mode=0o700)


def rename(user_id: str, parts: Parts, new_parts: Parts) -> None:
    """Give a file or folder another name or place; what is there already is never replaced."""
    source = find_path(user_id, parts)
    if new_parts[: len(parts)] == parts:
        raise Conflict("A folder cannot be moved into itself.", zh="不能把文件夹移动到它自身之内。")
    parent = find_path(user_id, new_parts[:-1])
    target = parent / new_parts[-1]
    if not parent.is_dir() or os.path.lexists(target):
        raise Conflict(
            f"There is already {new_parts[-1]!r} there; choose another name.",
            zh=f"该位置已有“{new_parts[-1]}”，请换一个名称。",
            code="name_taken",
        )
    source.rename(target)


def delete(user_id: str, parts: Parts) -> None:
    """Remove a file, or a folder with all it holds."""
    path = find_path(user_id, parts)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def take_in(user_id: str, folder: Parts, name: str, source: Path) -> str:
    """Let a finished upload appear in a folder, under a name of its own when this one is taken; return the name.

    Done twice for one upload, it appears once.
    """
    make_folder(user_id, folder)
    place = find_path(user_id, folder)
    stem, dot, suffix = name.partition(".")
    for number in range(1, 1000):
        wanted = name if number == 1 else f"{stem} ({number}){dot}{suffix}"
        target = place / wanted
        try:
            os.link(source, target)
        except FileExistsError:
            if not target.samefile(source):
                continue
        return wanted
    raise Conflict(
        "There are too many files of this name; choose another.", zh="同名文件过多，请换一个名称。"
    )


# -- a folder as one zip -----------------------------------------------------------------------------------


class _Pipe(io.RawIOBase):
    """Takes what a zip writer writes; given out piece by piece, so that nothing has to be kept."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken, self.pieces = b"".join(self.pieces), []
        return taken


def list_tree(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (path below the folder, file) of every regular file, in order."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield str(path.relative_to(folder)), path


def stream_zip(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """Yield a zip of the files as it is made: stored as they are, in constant memory, without a file on disk."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED, allowZip64=True) as zipped:
        for name, path in files:
            try:
                source = path.open("rb")
            except OSError:
                continue  # deleted meanwhile
            with source:
                facts = os.fstat(source.fileno())
                info = zipfile.ZipInfo(name, max(_EARLIEST, _read_moment(facts.st_mtime)))
                info.external_attr = 0o600 << 16
                with zipped.open(info, "w", force_zip64=facts.st_size > 1 << 30) as target:
                    while block := source.read(_BLOCK):
                        target.write(block)
                        yield pipe.take()
    yield pipe.take()


_EARLIEST = (1980, 1, 1, 0, 0, 0)


def _read_moment(seconds: float) -> tuple[int, int, int, int, int, int]:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second


def _say_missing() -> NotFound:
    return NotFound("There is no such file or folder.", zh="没有这个文件或文件夹。")
