"""The chore `clean_dataset`: a new version of the rows that can be used."""

from __future__ import annotations

from backend import storage_datasets
from backend.dataset_files import write_cleaned
from backend.librarian.dataset_check import check_and_enter, get_subject
from backend.librarian.running import RunningChore
from backend.services.datasets import note_end

__all__ = ["note_end", "run"]


def run(chore: RunningChore) -> None:
    """Write the usable rows into a folder of their own, and check that."""
    with chore.transaction() as session:
        path = get_subject(session, chore).path
    if not storage_datasets.get_folder(path).is_dir():
        draft = storage_datasets.get_draft(path)
        source = storage_datasets.get_folder(chore.payload["path"])
        write_cleaned(
            source,
            chore.payload["mapping"],
            draft,
            lambda stage, fraction, rows: chore.report(stage, fraction, rows=rows),
            stage=chore.payload.get("stage"),
        )
        with chore.transaction():
            storage_datasets.publish(draft, path)
    check_and_enter(chore, path, None)
