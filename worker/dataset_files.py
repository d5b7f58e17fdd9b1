"""The `data` folder of an attempt: links to its datasets and a `dataset_info.json` for them alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from backend.domain.protocol import DatasetLink

_INFO_KEYS = ("formatting", "ranking", "subset", "split", "folder", "num_samples", "columns", "tags")
_MEDIA_COLUMNS = ("images", "videos", "audios")


class BadDataset(Exception):
    """A dataset cannot be laid out; the text says what is wrong with it."""


def resolve_inside(root: Path, name: str) -> Path:
    """Return `root/name`; raises BadDataset for a name that leads out of `root`."""
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or name.startswith("/") or ".." in parts:
        raise BadDataset(f"{name!r} is not a path inside the platform's home.")
    return root.joinpath(*parts)


def lay_out_datasets(home: Path, data: Path, links: list[DatasetLink]) -> None:
    """Fill the fresh folder `data`, relative to which LLaMA-Factory finds every file of `links`.

    LLaMA-Factory has one `media_dir` for a run. One dataset with media is only linked to, as its own folder
    is that. Of several, those with media get copies of their data files in which media are named relative
    to `data` (docs/decisions/0001).
    """
    entries: dict[str, dict[str, Any]] = {}
    for link in links:
        folder = resolve_inside(home, link.path)
        if not folder.is_dir():
            raise BadDataset(f"The files of dataset {link.name!r} are gone.")
        (data / link.name).symlink_to(folder, target_is_directory=True)
        file_name = str(link.dataset_info.get("file_name", ""))
        source = resolve_inside(folder, file_name)
        if not source.exists():
            raise BadDataset(f"Dataset {link.name!r} lacks its file {file_name!r}.")
        place = f"{link.name}/{file_name}"
        columns = _list_media_columns(link)
        if len(links) > 1 and columns:
            place = f"{link.name}.prefixed{source.suffix}"
            copy_with_prefix(source, data / place, columns, link.name)
        # Only what describes the rows is taken over: no URL, script or cloud file of a stranger's making.
        entries[link.name] = {"file_name": place} | {
            key: link.dataset_info[key] for key in _INFO_KEYS if key in link.dataset_info
        }
    text = json.dumps(entries, ensure_ascii=False, indent=2)
    (data / "dataset_info.json").write_text(text, encoding="utf-8")


def _list_media_columns(link: DatasetLink) -> list[str]:
    columns = link.dataset_info.get("columns") or {}
    return [columns[kind] for kind in _MEDIA_COLUMNS if isinstance(columns.get(kind), str)]


def copy_with_prefix(source: Path, target: Path, columns: Iterable[str], prefix: str) -> None:
    """Copy a JSON or JSON-lines file, every media path of `columns` led by `prefix/`."""
    names = list(columns)
    if source.suffix == ".jsonl":
        with source.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8") as copy:
            for row in _read_lines(lines, source):
                copy.write(json.dumps(_prefix_row(row, names, prefix), ensure_ascii=False) + "\n")
    elif source.suffix == ".json":
        try:
            rows = json.loads(source.read_text("utf-8"))
        except ValueError as error:
            raise BadDataset(f"{source.name} is not JSON: {error}") from error
        prefixed = [_prefix_row(row, names, prefix) for row in rows]
        target.write_text(json.dumps(prefixed, ensure_ascii=False), encoding="utf-8")
    else:
        raise BadDataset(
            f"{source.name}: several datasets with pictures in one job must be .json or .jsonl files."
        )


def _read_lines(lines: Iterable[str], source: Path) -> Iterator[Any]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except ValueError as error:
            raise BadDataset(f"{source.name}, line {number}, is not JSON: {error}") from error


def _prefix_row(row: Any, columns: list[str], prefix: str) -> Any:
    if not isinstance(row, dict):
        return row
    return row | {name: _prefix_paths(row[name], prefix) for name in columns if name in row}


def _prefix_paths(value: Any, prefix: str) -> Any:
    """Prefix a path, a list of paths, or a video's list of frames; leave what is no path as it is."""
    if isinstance(value, str):
        return value if value.startswith("/") else f"{prefix}/{value}"
    if isinstance(value, list):
        return [_prefix_paths(item, prefix) for item in value]
    return value
