"""Every row of a dataset with what LLaMA-Factory would make of it, in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.dataset_files.media import MediaFolder
from backend.dataset_files.reading import FileProblem
from backend.dataset_files.sources import Source
from backend.domain.datasets.conversation import Conversation, convert_row
from backend.domain.datasets.mapping import MEDIA_COLUMNS, Mapping
from backend.domain.datasets.rules import Judge

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
    def usable(self) -> bool:
        """Whether LLaMA-Factory trains on it, if nothing else stops the run."""
        return all(problem.effect == "none" for problem in self.talk.problems)


@dataclass(frozen=True)
class Passage:
    """Some rows that came together, what was wrong with reading them, and how far the pass has come."""

    file: str
    rows: list[JudgedRow]
    problems: list[tuple[FileProblem, int | None]]
    fraction: float


class JudgedRows:
    """Iterates over a dataset; `source.fields` holds all its columns once the pass is over."""

    def __init__(self, folder: Path, source: Source, mapping: Mapping, judge: Judge) -> None:
        self.source, self._mapping, self._judge = source, mapping, judge
        self._media = MediaFolder(folder)
        self._absent: dict[str, int] = {}
        self._number = 0

    def __iter__(self) -> Iterator[Passage]:
        for found in self.source.read():
            first = self._number
            problems = [
                (problem, None if problem.row is None else first + problem.row)
                for problem in found.part.problems
            ]
            for start in range(0, max(1, len(found.part.rows)), _BATCH):
                rows = self._judge_rows(found.file.name, found.part.rows, found.part.lines, start)
                self._judge_neighbours(rows)
                yield Passage(found.file.name, rows, problems if not start else [], found.fraction)

    def _judge_rows(self, file: str, raws: list[Any], lines: list[int], start: int) -> list[JudgedRow]:
        rows = []
        for raw, line in zip(raws[start : start + _BATCH], lines[start : start + _BATCH], strict=True):
            talk = convert_row(self._mapping, raw)
            self._note_late(talk)
            self._judge.judge(talk)
            row = JudgedRow(file, line, self._number, raw, talk, [])
            if self._judge.stage != "pt" and row.usable:
                self._probe_media(row)
            rows.append(row)
            self._number += 1
        return rows

    def _note_late(self, talk: Conversation) -> None:
        """A column that is null in a whole first batch is written as null for good: a later value stops the run."""
        for name in (*MEDIA_COLUMNS, "system", "tools"):
            value = getattr(talk, name)
            if self._number < _BATCH:
                if value is not None:
                    self._absent[name] = 1
            elif value is not None and name not in self._absent:
                self._absent[name] = 1
                talk.add(
                    "media_late",
                    "stops",
                    name,
                    f"This is the first row with {name}.",
                    f"这是第一个带有 {name} 的行。",
                )

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

    def _judge_neighbours(self, rows: list[JudgedRow]) -> None:
        """KTO compares a row with the answer of the one before it in its batch of a thousand, the first with the last."""
        if self._judge.stage != "kto" or not rows:
            return
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
