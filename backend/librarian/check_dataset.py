"""The chore `check_dataset`: the same files, read by another mapping."""

from __future__ import annotations

from backend.librarian.dataset_check import check_and_enter, get_subject
from backend.librarian.running import RunningChore
from backend.services.datasets import note_end

__all__ = ["note_end", "run"]


def run(chore: RunningChore) -> None:
    """Check the dataset once more."""
    with chore.transaction() as session:
        path = get_subject(session, chore).path
    check_and_enter(chore, path, chore.payload["mapping"])
