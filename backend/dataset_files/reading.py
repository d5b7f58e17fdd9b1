"""A dataset's files read in parts, as `datasets` reads them, with the line of every row and all that stops the load."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from backend.dataset_files.arrow_types import Fields

KINDS = {"json": "json", "jsonl": "json", "csv": "csv", "parquet": "parquet", "arrow": "arrow", "txt": "text"}


@dataclass(frozen=True)
class FileProblem:
    """Something that stops the load of a file: a finding's code, where, and the particulars in two languages."""

    code: str
    line: int | None
    row: int | None
    field: str | None
    detail: str
    detail_zh: str
    effect: str = "stops"


@dataclass
class Part:
    """Some rows in a row: `lines` (from 1) and `places` (bytes, or what the reader can go on from) for each."""

    rows: list[Any] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[FileProblem] = field(default_factory=list)
    fields: Fields | None = None
    fraction: float = 0.0


class DataFile:
    """One data file: its path, its kind in LLaMA-Factory's words, its name for people."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.kind = KINDS.get(path.name.rpartition(".")[2]) if "." in path.name else None


class Unreadable(Exception):
    """There is nothing to read; `problem` says why."""

    def __init__(self, problem: FileProblem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def list_data_files(folder: Path, file_name: str) -> list[DataFile]:
    """Return the files that LLaMA-Factory reads for `file_name`; raises Unreadable where it would stop."""
    parts = PurePosixPath(file_name).parts
    if PurePosixPath(file_name).is_absolute() or ".." in parts or "\0" in file_name:
        raise _fail(
            "file_missing", f"{file_name!r} leads out of the dataset.", f"{file_name!r} 指向数据集之外。"
        )
    path = folder.joinpath(*parts)
    if not path.exists() or not path.resolve().is_relative_to(folder.resolve()):
        raise _fail("file_missing", f"There is no {file_name!r}.", f"没有 {file_name!r}。")
    if any(character in file_name for character in "*?[]"):
        raise _fail("file_name_unfit", f"{file_name!r}", f"{file_name!r}")
    if path.is_dir():
        found = [DataFile(path / one.name, f"{file_name}/{one.name}") for one in _list_in_order(path)]
    else:
        found = [DataFile(path, file_name)]
    if not found or found[0].kind is None:
        raise _fail("file_type_unknown", f"{file_name!r}", f"{file_name!r}")
    if any(one.kind != found[0].kind or one.path.is_dir() for one in found):
        raise _fail("file_types_mixed", f"{file_name!r}", f"{file_name!r}")
    return found


def _list_in_order(path: Path) -> Iterator[Path]:
    """Yield a folder's entries in the order of `os.listdir`, which is LLaMA-Factory's."""
    yield from path.iterdir()


def _fail(code: str, detail: str, detail_zh: str) -> Unreadable:
    return Unreadable(FileProblem(code, None, None, None, detail, detail_zh))
