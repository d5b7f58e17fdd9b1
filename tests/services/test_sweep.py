"""What a process that was killed left behind goes after an hour; what belongs to something stays."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from backend import storage_datasets
from backend.database import transaction
from backend.services import chores, datasets, pruning, spaces
from backend.tables.base import utc_now
from backend.tables.chore import Chore
from backend.tasks import celery, sweep_files
from tests.factories import make_own_dataset, make_user

pytestmark = pytest.mark.usefixtures("database")


def _age(path: Path) -> None:
    hours_ago = time.time() - 2 * 3600
    os.utime(path, (hours_ago, hours_ago))


def test_files_of_no_dataset_go_and_others_stay(tuneforge_home: Path) -> None:
    ann = make_user("ann")
    kept = make_own_dataset(ann)
    folder = tuneforge_home / "users" / ann / "datasets"
    storage_datasets.get_findings_file(f"users/{ann}/datasets/{kept}").write_text("")
    for name in ("gone", ".draft-gone", f".draft-{kept}"):
        (folder / name / "data").mkdir(parents=True)
    (folder / ".findings-gone.jsonl").write_text("")
    for path in folder.iterdir():
        _age(path)
    (folder / "new").mkdir()
    with transaction() as session:
        datasets.sweep(session)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [kept, f".draft-{kept}", f".findings-{kept}.jsonl", "new"]
    )


def test_bytes_of_no_upload_go_once_they_are_old(tuneforge_home: Path) -> None:
    folder = tuneforge_home / "uploads"
    folder.mkdir(exist_ok=True)
    (folder / "old").write_bytes(b"x")
    (folder / "new").write_bytes(b"x")
    _age(folder / "old")
    with transaction() as session:
        assert spaces.sweep_uploads(session) == 1
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_the_housekeeper_sweeps(tuneforge_home: Path) -> None:
    (tuneforge_home / "uploads").mkdir(exist_ok=True)
    (tuneforge_home / "uploads" / "old").write_bytes(b"x")
    _age(tuneforge_home / "uploads" / "old")
    sweep_files()
    assert list((tuneforge_home / "uploads").iterdir()) == []
    assert celery.conf.beat_schedule["sweep"]["task"] == "tuneforge.sweep"


def test_old_chores_are_forgotten_and_open_ones_never() -> None:
    with transaction() as session:
        old = chores.enqueue(session, "import_dataset", None, "a", {})
        old.status, old.finished_at = "done", utc_now() - timedelta(days=pruning.CHORE_DAYS + 1)
        waits = chores.enqueue(session, "import_dataset", None, "b", {})
        waits.created_at = utc_now() - timedelta(days=pruning.CHORE_DAYS + 1)
    with transaction() as session:
        pruning.prune(session)
        assert [chore.subject_id for chore in session.query(Chore)] == ["b"]
