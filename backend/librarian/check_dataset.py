"""The chore `check_dataset`: the same files read by another mapping, or looked at for the first time."""

from __future__ import annotations

from backend.librarian.dataset_check import check_and_enter, check_described, get_subject
from backend.librarian.running import RunningChore
from backend.services.datasets import note_end

__all__ = ["note_end", "run"]


def run(chore: RunningChore) -> None:
    """Check the dataset."""
    with chore.transaction() as session:
        path = get_subject(session, chore).path
    if chore.payload.get("described"):
        check_described(chore, path, chore.payload["mapping"])
    else:
        check_and_enter(chore, path, chore.payload["mapping"])
