"""Every row of a dataset with what LLaMA-Factory would make of it, in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.dataset_files.embedded import Keep, is_embedded, name_by_content, name_embedded
from backend.dataset_files.media import AS_OBJECT, MediaFolder
from backend.dataset_files.reading import FileProblem
from backend.dataset_files.sources import Source
from backend.domain.datasets.conversation import Conversation, convert_row
from backend.domain.datasets.mapping import MEDIA_COLUMNS, Mapping
from backend.domain.datasets.rules import Judge

_MENDED = ("value_late", "label_neighbour", AS_OBJECT)
"""What a cleaned copy puts right without leaving the row out."""
_BATCH = 1000
"""LLaMA-Factory's preprocessing_batch_size, and the rows that `datasets` writes at once."""


@dataclass
class JudgedRow:
    """One row: where it is, what it holds, what it becomes, the sizes of its pictures."""

    file: str
    line: int
    number: int
    raw: dict[str, Any]
    talk: Conversation
    sizes: list[tuple[int, int]]

    @property
    def kept(self) -> bool:
        """Whether a cleaned copy holds it: as it is, or with what stops the load put right."""
        problems = self.talk.problems
        return not problems or all(one.effect == "none" or one.code in _MENDED for one in problems)

    @property
    def usable(self) -> bool:
        """Whether LLaMA-Factory trains on it, if nothing else stops the run."""
        return not self.talk.problems or all(problem.effect == "none" for problem in self.talk.problems)


@dataclass(frozen=True)
class Passage:
    """Some rows that came together, what was wrong with reading them, and how far the pass has come."""

    file: str
    rows: list[JudgedRow]
    problems: list[tuple[FileProblem, int | None]]
    fraction: float


class JudgedRows:
    """Iterates over a dataset; `source.fields` holds all its columns once the pass is over."""

    def __init__(
        self, folder: Path, source: Source, mapping: Mapping, judge: Judge, keep: Keep = name_by_content
    ) -> None:
        self.source, self._mapping, self._judge, self._keep = source, mapping, judge, keep
        self._media = MediaFolder(folder)
        self._absent: dict[str, int] = {}
        self._used: set[str] = set()
        self._number = 0

    def __iter__(self) -> Iterator[Passage]:
        batch: list[JudgedRow] = []
        for found in self.source.read():
            problems = [
                (problem, None if problem.row is None else self._number + problem.row)
                for problem in found.part.problems
            ]
            if problems:
                yield Passage(found.file.name, [], problems, found.fraction)
            for raw, line in zip(found.part.rows, found.part.lines, strict=True):
                batch.append(self._judge_row(found.file.name, raw, line))
                if len(batch) == _BATCH:
                    self._judge_batch(batch)
                    yield Passage(found.file.name, batch, [], found.fraction)
                    batch = []
        if batch:
            self._judge_batch(batch)
            yield Passage(batch[0].file, batch, [], 1.0)

    def _judge_row(self, file: str, raw: dict[str, Any], line: int) -> JudgedRow:
        talk = convert_row(self._mapping, raw)
        self._note_late(talk)
        self._judge.judge(talk)
        row = JudgedRow(file, line, self._number, raw, talk, [])
        if self._judge.stage != "pt" and row.kept:
            self._probe_media(row)
        self._let_go(row)
        self._number += 1
        return row

    def _judge_batch(self, batch: list[JudgedRow]) -> None:
        """Find what stops a run by the rows that come together in a batch, which then are tokenized as one."""
        if self._judge.stage == "pt":
            return
        if self._judge.stage == "kto":
            self._judge_neighbours(batch)
        used = [row for row in batch if row.kept]
        if not used and batch[-1].number >= _BATCH - 1:
            first, last = batch[0].number, batch[-1].number
            batch[0].talk.add(
                "batch_dropped",
                "stops",
                None,
                f"None of the rows {first} to {last} can be used.",
                f"第 {first} 到 {last} 行全部不可用。",
            )
        for row in used:
            for kind in MEDIA_COLUMNS:
                if getattr(row.talk, kind) and row.number >= _BATCH and kind not in self._used:
                    _report_late(row.talk, kind)
                if getattr(row.talk, kind):
                    self._used.add(kind)

    def _note_late(self, talk: Conversation) -> None:
        """A column that is null in a whole first batch is written as null for good: a later value stops the run."""
        for name in (*MEDIA_COLUMNS, "system", "tools", "prompt", "response"):
            value = getattr(talk, name)
            value = None if value == [] else value
            if self._number < _BATCH:
                if value is not None:
                    self._absent[name] = 1
            elif value is not None and name not in self._absent:
                self._absent[name] = 1
                _report_late(talk, name)

    def _probe_media(self, row: JudgedRow) -> None:
        for kind in MEDIA_COLUMNS:
            column = getattr(self._mapping, kind)
            for item in getattr(row.talk, kind) or []:
                fault, size = self._media.probe(kind, item)
                if size and kind == "images":
                    row.sizes.append(size)
                if fault:
                    code, detail, detail_zh = fault
                    row.talk.add(code, "stops", column, detail, detail_zh)

    def _let_go(self, row: JudgedRow) -> None:
        """Put names in the place of pictures that the row holds itself: a thousand rows of them may be gigabytes."""
        keep = self._keep if row.kept else name_by_content
        for kind in MEDIA_COLUMNS:
            items = getattr(row.talk, kind)
            if items and is_embedded(items):
                names = name_embedded(kind, row.number, items, keep)
                setattr(row.talk, kind, names)
                row.raw = row.raw | {getattr(self._mapping, kind): names}

    def _judge_neighbours(self, rows: list[JudgedRow]) -> None:
        """KTO compares a row with the answer of the one before it in its batch of a thousand, the first with the last."""
        for place, row in enumerate(rows):
            before = rows[place - 1].talk.response
            if not row.usable or (before and before[0]["content"]) or len(before) > 1:
                continue
            row.talk.add(
                "label_neighbour",
                "stops",
                None,
                f"Row {rows[place - 1].number} has no answer.",
                f"第 {rows[place - 1].number} 行没有回答。",
            )


def _report_late(talk: Conversation, name: str) -> None:
    if all(problem.code != "value_late" for problem in talk.problems):
        talk.add(
            "value_late",
            "stops",
            name,
            f"This is the first row with {name}.",
            f"这是第一个带有 {name} 的行。",
        )
