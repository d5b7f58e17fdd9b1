"""The cleaned copy of a dataset: all rows that LLaMA-Factory can train on, in one file that it loads whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from backend.dataset_files.arrow_types import holds_times
from backend.dataset_files.checking import find_assumed_media
from backend.dataset_files.embedded import find_kind
from backend.dataset_files.json_lines import infer_line_fields
from backend.dataset_files.judged import JudgedRow, JudgedRows
from backend.dataset_files.media import MediaFolder
from backend.dataset_files.sources import Source
from backend.domain.datasets.mapping import MEDIA_COLUMNS, Mapping, build_entry, find_stage, parse_mapping
from backend.domain.datasets.rules import Judge

FILE_NAME = "rows.jsonl"
_FIRST_BATCH, _FIRST_BYTES = 1000, 4 << 20
"""What is read first settles the types of all columns; half of it is left for rows that are moved there."""
_NULLABLE = ("system", "tools", "history", *MEDIA_COLUMNS, "kto_tag", "query")


def write_cleaned(
    folder: Path,
    info: dict[str, Any],
    target: Path,
    on_progress: Callable[[str, float, int], None] | None = None,
    *,
    stage: str | None = None,
    accepts: frozenset[str] | None = None,
) -> int:
    """Write the usable rows of a dataset into the folder `target`, and return how many there are.

    `target` is made, and gets `rows.jsonl` (or `rows.json`, where lines would be misread) with the mapped columns
    only, the media that they name (as hard links where the file system allows it), and a `dataset_info.json` with
    one entry, `dataset`. Raises BadMapping and Unreadable.
    """
    mapping = parse_mapping(info)
    source = Source(folder, mapping.file_name)
    judge = Judge(stage or find_stage(mapping), accepts or find_assumed_media(mapping))
    target.mkdir(parents=True, exist_ok=True)
    media = MediaFolder(folder)
    draft = target / f".{FILE_NAME}.draft"
    count, early = 0, _Early(mapping)
    with draft.open("w", encoding="utf-8") as file:
        for passage in JudgedRows(folder, source, mapping, judge, partial(_save_embedded, target)):
            for row in passage.rows:
                if row.kept:
                    _write_row(file, row, mapping, early)
                    _link_media(row, media, target)
                    count += 1
            if on_progress:
                on_progress("cleaning", min(1.0, passage.fraction), count)
    early.finish(draft, target / FILE_NAME)
    name = settle_format(target / FILE_NAME)
    entry = build_entry(replace(mapping, file_name=name, num_samples=None))
    text = json.dumps({"dataset": entry}, ensure_ascii=False, indent=2)
    (target / "dataset_info.json").write_text(text, encoding="utf-8")
    return count


class _Early:
    """The first row that has each column's value, to be moved to the front if it comes late."""

    def __init__(self, mapping: Mapping) -> None:
        self._columns = [column for name in _NULLABLE if (column := getattr(mapping, name))]
        self._seen: set[str] = set()
        self._moved: list[str] = []
        self._count = self._bytes = 0

    def take(self, made: dict[str, Any], text: str) -> bool:
        """Whether the row is kept back to be written first."""
        new = {name for name in self._columns if made.get(name) not in (None, [], "")} - self._seen
        self._seen |= new
        self._count += 1
        self._bytes += len(text)
        if new and (self._count > _FIRST_BATCH // 2 or self._bytes > _FIRST_BYTES):
            self._moved.append(text)
            return True
        return False

    def finish(self, draft: Path, target: Path) -> None:
        """Make the file of the rows kept back and the draft."""
        if not self._moved:
            draft.replace(target)
            return
        whole = target.with_name(f".{target.name}.whole")
        with whole.open("wb") as file, draft.open("rb") as rest:
            file.write("".join(self._moved).encode())
            shutil.copyfileobj(rest, file, 1 << 20)
        whole.replace(target)
        draft.unlink()


def settle_format(path: Path) -> str:
    """Return the name of the finished file: one list where pyarrow would take texts for times, as only lists are safe."""
    with path.open("rb") as file:
        start = file.read(_FIRST_BYTES) + file.readline()
    if not start or not holds_times(infer_line_fields(start)):
        return path.name
    listed = path.with_suffix(".json")
    with path.open(encoding="utf-8") as lines, listed.open("w", encoding="utf-8") as file:
        for number, line in enumerate(lines):
            file.write(("[\n" if number == 0 else ",\n") + line.rstrip("\n"))
        file.write("\n]\n")
    path.unlink()
    return listed.name


def _save_embedded(target: Path, kind: str, row: int, place: int, data: bytes) -> str:
    """Write what lies in the data itself as a file of its own, which JSON can name, and return its path."""
    name = f"embedded-{kind}/{row:08d}-{place}{find_kind(data)[0]}"
    path = target / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)  # a row that names a file so has a link there, to what must not change
    path.write_bytes(data)
    return name


def _write_row(file: TextIO, row: JudgedRow, mapping: Mapping, early: _Early) -> None:
    made = _reduce_row(row.raw, mapping)
    text = json.dumps(made, ensure_ascii=False, default=str).encode("utf-8", "ignore").decode("utf-8") + "\n"
    if not early.take(made, text):
        file.write(text)


def _reduce_row(raw: dict[str, Any], mapping: Mapping) -> dict[str, Any]:
    """Return the row with the mapped columns only, of one type each."""
    made = {}
    for name, column in mapping.list_columns().items():
        value = raw.get(column)
        made[column] = _reduce_value(name, value, mapping)
    return made


def _reduce_value(name: str, value: Any, mapping: Mapping) -> Any:
    """Return a value as LLaMA-Factory takes it, None for what it passes over."""
    if name == "messages":
        return [_reduce_message(message, mapping) for message in value]
    if name in ("chosen", "rejected") and isinstance(value, dict):
        return _reduce_message(value, mapping)
    if name in MEDIA_COLUMNS:
        return [value] if value is not None and not isinstance(value, list) else value or None
    if name == "history":
        return value if isinstance(value, list) else None
    if name == "kto_tag":
        return value if isinstance(value, bool) else None
    return value if isinstance(value, str) else None


def _reduce_message(message: dict[str, Any], mapping: Mapping) -> dict[str, Any]:
    names = [mapping.role_tag or "", mapping.content_tag or ""]
    if mapping.formatting == "openai":
        names.append("tool_calls")
    return {name: message.get(name) for name in names}


def _link_media(row: JudgedRow, media: MediaFolder, target: Path) -> None:
    for name in _list_paths(row):
        source = media.find(name)
        place = target / name
        if source is None or place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, place)
        except OSError:
            shutil.copyfile(source, place)


def _list_paths(row: JudgedRow) -> Iterator[str]:
    for kind in MEDIA_COLUMNS:
        for item in getattr(row.talk, kind) or []:
            for one in item if isinstance(item, list) else [item]:
                if isinstance(one, str):
                    yield one
