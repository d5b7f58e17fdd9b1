"""Which module does which kind of chore.

Such a module has `run(chore)`, and `note_end(session, subject_id, status, error)`, which writes down at the subject
that its chore `failed` or was `cancelled`. Modules are loaded where they are needed: the keeper stays small.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

from sqlalchemy.orm import Session

from backend.librarian.running import RunningChore

MODULES: dict[str, str] = {
    "import_dataset": "import_dataset",
    "check_dataset": "check_dataset",
    "clean_dataset": "clean_dataset",
    "profile_dataset": "profile_dataset",
    "download_model": "download_model",
}
"""By kind, the module below `backend.librarian`."""


class ChoreModule(Protocol):
    """What a module of this package offers that does a kind of chore."""

    def run(self, chore: RunningChore) -> None:
        """Do it, going on from what lies on disk; returning means that it is done."""

    def note_end(self, session: Session, subject_id: str, status: str, error: dict[str, Any] | None) -> None:
        """Bring the subject in line with a chore that `failed` or was `cancelled`."""


def load_module(kind: str) -> ChoreModule:
    """Return the module for this kind; raises KeyError for a kind that nobody does."""
    return cast(ChoreModule, import_module(f"backend.librarian.{MODULES[kind]}"))
