"""The chore `profile_dataset`: how long a dataset's rows are by a model's own tokenizer."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, NamedTuple

from backend import storage
from backend.database import transaction
from backend.dataset_files.profiling import profile
from backend.dataset_files.reading import Unreadable
from backend.dataset_files.tokens import BadTokenizer, RowCounter
from backend.domain.datasets.mapping import BadMapping, find_stage, parse_mapping
from backend.domain.errors import Conflict
from backend.librarian.running import RunningChore
from backend.services import catalogue, chores, profiles
from backend.services.chores import ChoreLost
from backend.services.profiles import note_end
from backend.tables.dataset import Dataset
from backend.tables.dataset_profile import DatasetProfile
from backend.tokenizer_files import identify_tokenizer

__all__ = ["note_end", "run"]

_MOST_SECONDS = 120.0
"""So long may loading a tokenizer, or one batch of a few hundred rows, take."""
_NICENESS = 10
"""Counting uses all cores, as long as nobody else wants them."""


class _Order(NamedTuple):
    """What is to be counted."""

    folder: Path
    info: dict[str, Any]
    row_count: int
    model: Path
    template: str


def run(chore: RunningChore) -> None:
    """Count, and write down what was found."""
    order = _read_order(chore)
    os.nice(_NICENESS)
    watch = _Watch(chore, _MOST_SECONDS)
    try:
        counter = RowCounter(order.model, order.template, find_stage(parse_mapping(order.info)))

        def report(fraction: float, rows: int) -> None:
            watch.reset()
            chore.report("counting", fraction, rows=rows)

        found = profile(order.folder, order.info, counter, row_count=order.row_count, on_progress=report)
    except (BadTokenizer, BadMapping, Unreadable) as error:
        raise Conflict(str(error), zh=f"无法用该分词器统计：{error}", code="cannot_count") from error
    finally:
        watch.stop()
    with chore.transaction() as session:
        row = session.get_one(DatasetProfile, chore.subject_id)
        row.status, row.result = "measured", found


def _read_order(chore: RunningChore) -> _Order:
    """Return what to do; a profile whose dataset is gone, or whose tokenizer is another by now, is dropped."""
    model, template = storage.get_home() / chore.payload["model_path"], chore.payload["template"]
    with chore.transaction() as session:
        row = session.get(DatasetProfile, chore.subject_id)
        dataset = session.get(Dataset, row.dataset_id) if row else None
        if row and dataset and identify_tokenizer(model, template) == row.tokenizer:
            folder, info = catalogue.get_folder(dataset), catalogue.get_mapping(dataset)
            return _Order(folder, info, dataset.example_count, model, template)
        if row:
            profiles.drop(session, row)
        chores.forget(session, chore.subject_id)
    raise ChoreLost(chore.id)


class _Watch:
    """Ends the process when the tokenizer, whose rules strangers write, does not come back: no retry would help."""

    def __init__(self, chore: RunningChore, seconds: float) -> None:
        self._chore, self._seconds = chore, seconds
        self._moved, self._stopped = threading.Event(), False
        threading.Thread(target=self._look, name="watch", daemon=True).start()

    def reset(self) -> None:
        """Say that it came back."""
        self._moved.set()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped = True
        self._moved.set()

    def _look(self) -> None:
        while self._moved.wait(self._seconds):
            self._moved.clear()
            if self._stopped:
                return
        try:
            with transaction() as session:
                chores.finish(session, self._chore.id, self._chore.claim, "failed", _TOO_SLOW)
                note_end(session, self._chore.subject_id, "failed", _TOO_SLOW)
        finally:
            os._exit(0)


_TOO_SLOW = {
    "code": "tokenizer_too_slow",
    "detail": "The tokenizer took more than two minutes for a few hundred rows.",
    "detail_zh": "分词器处理几百行数据超过两分钟，已停止统计。",
}
