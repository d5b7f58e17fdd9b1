"""Folders of people's datasets under TUNEFORGE_HOME: filled as drafts, renamed into place whole, never changed then."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from backend.domain.errors import TooLarge, TuneforgeError
from backend.settings import get_settings

_ORPHAN_SECONDS = 3600.0
_INDEX_FOLDER = ".rows"
OnFile = Callable[[int, int], None]
"""Called with the files and the bytes copied so far."""


def build_path(owner_id: str, dataset_id: str) -> str:
    """Return where a person's dataset lies, relative to the home."""
    return f"users/{owner_id}/datasets/{dataset_id}"


def get_folder(path: str) -> Path:
    """Return the folder of a dataset's `path`."""
    return get_settings().home / path


def get_draft(path: str) -> Path:
    """Return the folder in which a dataset is made ready, emptied of what another attempt left."""
    folder = get_folder(path)
    draft = folder.with_name(f".draft-{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    return draft / "data"


def get_hub_folder(path: str) -> Path:
    """Return the folder into which a dataset is fetched from a hub; it is kept until the dataset is there."""
    folder = get_folder(path)
    return folder.with_name(f".hub-{folder.name}")


def publish(draft: Path, path: str) -> None:
    """Let a whole draft appear as the dataset's folder; what it was fetched into is not needed any more."""
    draft.rename(get_folder(path))
    draft.parent.rmdir()
    shutil.rmtree(get_hub_folder(path), ignore_errors=True)


def get_findings_file(path: str) -> Path:
    """Return where all findings about a dataset are kept, beside its folder."""
    folder = get_folder(path)
    return folder.with_name(f".findings-{folder.name}.jsonl")


def delete(path: str) -> None:
    """Remove all that a dataset has on disk; links are removed, never followed."""
    folder = get_folder(path)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(folder.with_name(f".draft-{folder.name}"), ignore_errors=True)
    shutil.rmtree(get_hub_folder(path), ignore_errors=True)
    get_findings_file(path).unlink(missing_ok=True)


def sweep(known_ids: Collection[str]) -> int:
    """Remove what lies among people's datasets and belongs to none of these, once it is an hour old."""
    dropped = 0
    for entry in get_settings().users_dir.glob("*/datasets/*"):
        plain = entry.name.removeprefix(".draft-").removeprefix(".hub-").removeprefix(".findings-")
        dataset_id = plain.removesuffix(".jsonl")
        if dataset_id in known_ids or entry.lstat().st_mtime > time.time() - _ORPHAN_SECONDS:
            continue
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
        dropped += 1
    return dropped


def link_file(source: Path, target: Path) -> None:
    """Let a file appear in a draft without copying it where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def link_tree(source: Path, target: Path) -> None:
    """Let a dataset's files appear in a draft of another version; what was reckoned from them is left out."""
    for root, folders, names in os.walk(source):
        folders[:] = [name for name in folders if name != _INDEX_FOLDER]
        place = target / Path(root).relative_to(source)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in names:
            link_file(Path(root, name), place / name)


def find_allowed(path: str, roots: Sequence[Path]) -> Path | None:
    """Return the real place of a path on this machine if it lies below one of the roots, links resolved, else None."""
    if not path.startswith("/") or "\0" in path:
        return None
    try:
        real = Path(path).resolve(strict=True)
        allowed = any(real.is_relative_to(root.resolve()) for root in roots)
    except (OSError, RuntimeError, ValueError):
        return None
    return real if allowed else None


def copy_allowed(source: Path, target: Path, roots: Sequence[Path], most_bytes: int, on_file: OnFile) -> None:
    """Copy a file or folder of this machine into a draft: regular files only, none that leads out of the roots."""
    if source.is_file():
        _copy_file(source, target / source.name, most_bytes, 0)
        on_file(1, source.stat().st_size)
        return
    files = written = 0
    target.mkdir(mode=0o700)
    for root, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [one for one in sorted(names) if not one.startswith(".")]:
            found = find_allowed(os.path.join(root, name), roots)
            if found is None or not found.is_file():
                raise BadPath(
                    f"{name!r} is a link that leads elsewhere, or no file. Take it out of the folder.",
                    zh=f"“{name}”是指向别处的链接，或不是普通文件。请将其移出文件夹后重试。",
                )
            written += _copy_file(found, target / Path(root).relative_to(source) / name, most_bytes, written)
            files += 1
            on_file(files, written)


class BadPath(TuneforgeError):
    """A path of this machine cannot be imported as it is."""

    code = "bad_path"
    status = 422


def _copy_file(source: Path, target: Path, most_bytes: int, written: int) -> int:
    size = source.stat().st_size
    if written + size > most_bytes:
        raise TooLarge(
            f"It is larger than what is left of your space ({most_bytes} bytes). Delete what you do not need.",
            zh=f"大小超过您剩余的空间（{most_bytes} 字节），请删除不需要的内容。",
            code="quota_exceeded",
        )
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copyfile(source, target)
    return size


def measure(path: str) -> int:
    """Return the bytes of all files of a dataset."""
    total = 0
    for root, _, names in os.walk(get_folder(path)):
        total += sum(os.lstat(os.path.join(root, name)).st_size for name in names)
    return total
