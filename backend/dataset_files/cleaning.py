"""The cleaned copy of a dataset: all rows that LLaMA-Factory can train on, in one file that it loads whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from backend.dataset_files.checking import find_assumed_media
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
    tokenizer: Path | None = None,
) -> int:
    """Write the usable rows of a dataset into the folder `target`, and return how many there are.

    `target` is made, and gets `rows.jsonl` with the mapped columns only, the media that they name (as hard links
    where the file system allows it), and a `dataset_info.json` with one entry, `dataset`. Raises BadMapping.
    """
    mapping = parse_mapping(info)
    source = Source(folder, mapping.file_name)
    judge = Judge(stage or find_stage(mapping), find_assumed_media(mapping, tokenizer))
    target.mkdir(parents=True, exist_ok=True)
    media = MediaFolder(folder)
    draft = target / f".{FILE_NAME}.draft"
    count, early = 0, _Early(mapping)
    with draft.open("w", encoding="utf-8") as file:
        for passage in JudgedRows(folder, source, mapping, judge):
            for row in passage.rows:
                if is_kept(row):
                    _write_row(file, row, mapping, early)
                    _link_media(row, media, target)
                    count += 1
            if on_progress:
                on_progress("cleaning", min(1.0, passage.fraction), count)
    early.finish(draft, target / FILE_NAME)
    entry = build_entry(replace(mapping, file_name=FILE_NAME, num_samples=None))
    text = json.dumps({"dataset": entry}, ensure_ascii=False, indent=2)
    (target / "dataset_info.json").write_text(text, encoding="utf-8")
    return count


def is_kept(row: JudgedRow) -> bool:
    """Whether the cleaned copy holds the row: one that stops only by its place among others is put elsewhere."""
    return all(
        problem.effect == "none" or problem.code in ("media_late", "label_neighbour")
        for problem in row.talk.problems
    )


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
        if name == "messages" and isinstance(value, list):
            value = [_reduce_message(message, mapping) for message in value]
        elif name in ("chosen", "rejected") and isinstance(value, dict):
            value = _reduce_message(value, mapping)
        elif name in MEDIA_COLUMNS:
            value = [value] if value is not None and not isinstance(value, list) else value or None
        elif name in ("system", "tools") and not isinstance(value, str) and not value:
            value = None
        made[column] = value
    return made


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
