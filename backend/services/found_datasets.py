"""Dataset folders that somebody put into the home without a `tuneforge.json`: recognised and checked by a chore."""

from __future__ import annotations

import os
import time
from pathlib import Path

from sqlalchemy.orm import Session

from backend import storage
from backend.domain.dataset_names import build_name
from backend.services import chores
from backend.services.presets import find_preset_mapping
from backend.tables.dataset import Dataset

QUIET_SECONDS = 10.0
"""A folder that changed later than this long ago is still being copied."""
_WAITING = ("available", "missing")


def find_datasets(session: Session, known: dict[str, Dataset]) -> None:
    """Have folders checked that nobody described: new ones, and those of presets that were not here."""
    for folder in storage.list_undescribed("datasets"):
        dataset = known.get(folder.name)
        if dataset is not None and (dataset.status not in _WAITING or dataset.owner_id is not None):
            continue
        if build_name(folder.name) != folder.name or not _is_quiet(folder):
            continue
        if dataset is None:
            dataset = Dataset(
                id=folder.name, name=folder.name, path=f"datasets/{folder.name}", visibility="public", format="unknown",
                modalities=["text"], example_count=0, size_bytes=0, facts={}, report={},
            )  # fmt: skip
            session.add(dataset)
        dataset.status = "checking"
        session.flush()
        payload = {"source": {"kind": "found"}, "mapping": find_preset_mapping(dataset.id)}
        chores.enqueue(session, "import_dataset", None, dataset.id, payload)


def _is_quiet(folder: Path) -> bool:
    """Whether it holds files and none of its folders changed of late; a folder changes with each file it is given."""
    holds_files, newest = False, 0.0
    for root, _, names in os.walk(folder):
        holds_files = holds_files or bool(names)
        newest = max(newest, os.lstat(root).st_mtime)
        if root == str(folder):
            newest = max([newest, *(os.lstat(os.path.join(root, name)).st_mtime for name in names)])
    return holds_files and newest < time.time() - QUIET_SECONDS
