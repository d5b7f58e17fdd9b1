"""How long a dataset's rows are by one model's tokenizer: read by the checker's own code, streaming."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from backend.dataset_files.checking import find_assumed_media
from backend.dataset_files.media import MediaFolder
from backend.dataset_files.sources import Source
from backend.dataset_files.tokens import RowCounter
from backend.domain.datasets.conversation import Conversation, convert_row
from backend.domain.datasets.mapping import MEDIA_COLUMNS, Mapping, find_stage, parse_mapping
from backend.domain.datasets.rules import Judge
from backend.domain.datasets.statistics import Lengths, Pictures
from backend.domain.estimate.dataset_facts import SHARES

MOST_ROWS = 20_000
"""Of larger datasets so many rows, spread evenly, are counted: a percentile is off by about 0.2 of a point."""
_BATCH_ROWS, _BATCH_LETTERS = 500, 1 << 21
Row = tuple[Conversation, list[tuple[int, int]]]
"""A conversation and the sizes of its pictures."""


def profile(
    folder: Path,
    info: dict[str, Any],
    counter: RowCounter,
    *,
    row_count: int,
    on_progress: Callable[[float, int], None],
    most_rows: int = MOST_ROWS,
) -> dict[str, Any]:
    """Return lengths and pictures of the rows that LLaMA-Factory trains on, of `row_count` in all.

    `on_progress` gets the share of the dataset that is read, and how many rows are counted; it may raise to end this.
    Raises BadMapping, Unreadable and BadTokenizer. Memory does not grow with the dataset.
    """
    mapping = parse_mapping(info)
    rows = _SampledRows(folder, mapping, max(1, -(-row_count // most_rows)))
    lengths, pictures, inexact = Lengths(), Pictures(), 0
    for batch, fraction in rows:
        for (_, sizes), length in zip(batch, counter.count(batch), strict=True):
            lengths.add(length.total, length.label, length.pictures)
            inexact += not length.exact
            pictures.add_row()
            for size in sizes:
                pictures.add(size)
        on_progress(min(1.0, fraction), lengths.count)
    tokens = lengths.to_dict(estimated=False)
    if tokens:
        found = [*lengths.find_all(SHARES[:-1]), lengths.longest]
        tokens |= {
            "quantiles": [list(point) for point in zip(SHARES, found, strict=True)],
            "bins": lengths.list_bins(),
        }
    return {
        "row_count": rows.seen,
        "counted": lengths.count,
        "step": rows.step,
        "inexact": inexact,
        "tokens": tokens,
        "pictures": pictures.to_dict(),
    }


class _SampledRows:
    """One of every `step` rows, if it can be used, in batches with the share of the dataset that is read.

    Which of them is shuffled, the same way each time: data is often laid out in rounds.
    """

    def __init__(self, folder: Path, mapping: Mapping, step: int) -> None:
        self.step, self.seen = step, 0
        self._source, self._mapping = Source(folder, mapping.file_name), mapping
        self._judge = Judge(find_stage(mapping), find_assumed_media(mapping))
        self._media = MediaFolder(folder)

    def __iter__(self) -> Iterator[tuple[list[Row], float]]:
        batch: list[Row] = []
        letters, fraction = 0, 0.0
        for found in self._source.read():
            for raw in found.part.rows:
                turn, place = divmod(self.seen, self.step)
                self.seen += 1
                row = self._take(raw) if place == _shuffle(turn) % self.step else None
                if row is not None:
                    batch.append(row)
                    letters += _count_letters(row[0])
                if len(batch) == _BATCH_ROWS or letters > _BATCH_LETTERS:
                    yield batch, fraction
                    batch, letters = [], 0
            fraction = found.fraction
            yield batch, fraction  # also an empty one: it tells that a part was read
            batch, letters = [], 0

    def _take(self, raw: dict[str, Any]) -> Row | None:
        """Return the row as LLaMA-Factory would train on it, or None where it drops it."""
        talk = convert_row(self._mapping, raw)
        self._judge.judge(talk)
        if any(problem.effect != "none" for problem in talk.problems):
            return None
        sizes = []
        if self._judge.stage != "pt":
            for kind in MEDIA_COLUMNS:
                for item in getattr(talk, kind) or []:
                    fault, size = self._media.probe(kind, item)
                    if fault:
                        return None
                    if size and kind == "images":
                        sizes.append(size)
                if getattr(talk, kind):  # a batch of pictures that the rows hold themselves may be gigabytes
                    setattr(talk, kind, [kind])
        return talk, sizes


def _shuffle(number: int) -> int:
    """Return a number that looks drawn by lot (Knuth's multiplicative hash)."""
    return (number * 2_654_435_761 & 0xFFFF_FFFF) >> 7


def _count_letters(talk: Conversation) -> int:
    return sum(len(message["content"] or "") for message in [*talk.prompt, *talk.response])
