"""Where in a file every thousandth row begins, so that reading can start in the middle."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from backend.dataset_files.json_lines import read_lines_from
from backend.dataset_files.json_lists import read_list_from
from backend.dataset_files.reading import DataFile
from backend.dataset_files.sources import READERS, is_list
from backend.dataset_files.table_pages import count_parquet, read_arrow_from, read_batches, read_parquet_from

_FOLDER = ".rows"


@dataclass
class RowIndex:
    """How many rows a file has, and for some of them (number, line, byte at which to go on)."""

    stamp: list[int]
    count: int = 0
    marks: list[tuple[int, int, int]] = field(default_factory=list)


def find_index(folder: Path, file: DataFile) -> RowIndex:
    """Return the index of a file: as it was kept beside the data, or made now, which reads the file once."""
    facts = file.path.stat()
    return _load_index(str(folder), str(file.path), file.name, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=64)
def _load_index(folder: str, path: str, name: str, size: int, mtime_ns: int) -> RowIndex:
    place = Path(folder) / _FOLDER / f"{name.replace('/', '_')}.json"
    stamp = [size, mtime_ns]
    try:
        kept = json.loads(place.read_text("utf-8"))
        if kept["stamp"] == stamp:
            return RowIndex(stamp, kept["count"], [tuple(mark) for mark in kept["marks"]])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    index = _build_index(DataFile(Path(path), name), stamp)
    try:
        place.parent.mkdir(exist_ok=True)
        draft = place.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(index)), encoding="utf-8")
        draft.replace(place)
    except OSError:
        pass  # a folder that only others may write to: the index lives as long as the process
    return index


def _build_index(file: DataFile, stamp: list[int]) -> RowIndex:
    index = RowIndex(stamp)
    if file.kind == "parquet":
        index.count = count_parquet(file.path)
        return index
    if file.kind == "arrow":
        index.count = sum(batch.num_rows for batch in read_batches(file.path))
        return index
    reading = _read_marked(file, 0, 1)
    for number, (line, place, _) in enumerate(reading):
        if place is not None:
            index.marks.append((number, line, place))
        index.count = number + 1
    return index


def read_from(file: DataFile, index: RowIndex, start: int) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield (number, line, row) from row `start` of the file on."""
    position = bisect_right(index.marks, (start, 1 << 62, 0)) - 1
    number, line, place = index.marks[position] if position >= 0 else (0, 1, 0)
    if file.kind in ("parquet", "arrow"):
        read = read_parquet_from if file.kind == "parquet" else read_arrow_from
        for number, row in read(file.path, start):
            yield number, number + 1, row
        return
    for at, (row_line, _, row) in enumerate(_read_marked(file, place, line), start=number):
        if at >= start:
            yield at, row_line, row if isinstance(row, dict) else {}


def _read_marked(file: DataFile, place: int, line: int) -> Iterator[tuple[int, int | None, Any]]:
    """Yield (line, byte, row); the byte is None where reading cannot start there."""
    if file.kind == "json" and is_list(file):
        yield from read_list_from(file, place, line)
    elif file.kind == "json":
        yield from read_lines_from(file, place, line)
    else:
        for part in READERS[file.kind or ""](file):
            for row_line, row in zip(part.lines, part.rows, strict=True):
                yield row_line, None, row
