"""The chore `import_dataset`: from an upload, a path or another version to a dataset that is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backend import archives, storage, storage_datasets, storage_uploads
from backend.librarian.dataset_check import check_and_enter, get_subject, measure_room
from backend.librarian.hub_dataset import take_repository
from backend.librarian.running import RunningChore
from backend.services.datasets import note_end
from backend.settings import get_settings
from backend.tables.upload import Upload

__all__ = ["note_end", "run"]


def run(chore: RunningChore) -> None:
    """Fill the dataset's folder unless that was done already, and check it."""
    source: dict[str, Any] = chore.payload["source"]
    with chore.transaction() as session:
        dataset = get_subject(session, chore)
        path = dataset.path
        upload = session.get(Upload, source.get("upload_id", ""))
        room = measure_room(session, dataset, upload.size_bytes if upload else 0)
    if not storage_datasets.get_folder(path).is_dir():
        draft = storage_datasets.get_draft(path)
        _fill(chore, source, path, draft, room)
        with chore.transaction():  # still ours: only then may it appear
            storage_datasets.publish(draft, path)
    check_and_enter(chore, path, _find_mapping(chore, path))


def _find_mapping(chore: RunningChore, path: str) -> dict[str, Any] | None:
    """Return how the files are to be read; what is known of a preset holds only if its file is called so."""
    mapping: dict[str, Any] | None = chore.payload.get("mapping")
    if mapping is None or chore.payload["source"]["kind"] not in ("hub", "found"):
        return mapping
    name = mapping.get("file_name")
    return mapping if name and storage.has_file(storage_datasets.get_folder(path), name) else None


def _fill(chore: RunningChore, source: dict[str, Any], path: str, draft: Path, room: int) -> None:
    if source["kind"] == "hub":
        take_repository(chore, source, path, draft, room)
    elif source["kind"] == "found":
        raise storage_datasets.BadPath(
            "The folder is not there any more.", zh="该文件夹已不存在，请放回后重试。"
        )
    elif source["kind"] == "upload":
        upload = storage_uploads.get_upload_path(source["upload_id"])
        _take_file(chore, upload, source["file_name"], draft, room, is_ours=True)
    elif source["kind"] == "version":
        chore.report("copying", None)
        storage_datasets.link_tree(storage_datasets.get_folder(source["path"]), draft)
    else:
        _take_path(chore, source["path"], draft, room)


def _take_path(chore: RunningChore, path: str, draft: Path, room: int) -> None:
    roots = get_settings().import_folders
    found = storage_datasets.find_allowed(path, roots)
    if found is None:
        raise storage_datasets.BadPath(
            "The path is not there any more, or is not allowed any more.",
            zh="该路径已不存在，或不再允许导入。",
        )
    if found.is_file():
        _take_file(chore, found, found.name, draft, room, is_ours=False)
        return
    storage_datasets.copy_allowed(
        found, draft, roots, room, lambda files, size: chore.report("copying", None, files=files, bytes=size)
    )


def _take_file(chore: RunningChore, file: Path, name: str, draft: Path, room: int, *, is_ours: bool) -> None:
    """An archive is unpacked, and any other file taken as it is; ours need not be copied."""
    chore.report("unpacking", 0.0)
    kind = archives.find_kind(file)
    if kind is not None:
        archives.unpack(
            file, kind, name, draft, most_bytes=room,
            on_progress=lambda fraction, files: chore.report("unpacking", fraction, files=files),
        )  # fmt: skip
    elif is_ours:
        storage_datasets.link_file(file, draft / name)
    else:
        roots = get_settings().import_folders
        storage_datasets.copy_allowed(file, draft, roots, room, lambda _files, _size: None)
