"""A chore as the module that does it sees it: what is asked, and how to tell how far it is."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from backend.database import transaction
from backend.services import chores

BEAT_SECONDS = 1.0


class ChoreCancelled(Exception):
    """The chore is not wanted any more; its module cleans up what it began."""


class RunningChore:
    """One claimed chore, kept alive by a thread until `close`."""

    def __init__(
        self, chore_id: str, claim: str, subject_id: str, owner_id: str | None, payload: dict[str, Any]
    ) -> None:
        self.id = chore_id
        self.claim = claim
        self.subject_id = subject_id
        self.owner_id = owner_id
        self.payload = payload
        self._progress: dict[str, Any] | None = None
        self._cancelled = threading.Event()
        self._closed = threading.Event()
        self._beats = threading.Thread(target=self._keep_alive, name="heartbeat", daemon=True)
        self._beats.start()

    def report(self, stage: str, fraction: float | None, **counts: int | str) -> None:
        """Tell how far the chore is: `fraction` from 0 to 1, or None when nobody knows. May be called for each row.

        Raises ChoreCancelled when the chore is not wanted any more.
        """
        self._progress = {"stage": stage, "fraction": fraction, **counts}
        if self._cancelled.is_set():
            raise ChoreCancelled(self.id)

    def is_cancelled(self) -> bool:
        """Whether somebody has asked that this chore ends."""
        return self._cancelled.is_set()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a transaction in which this chore is surely still ours; raises ChoreLost when it is not."""
        with transaction() as session:
            chores.get_claimed(session, self.id, self.claim)
            yield session

    def close(self) -> None:
        """End the heartbeats."""
        self._closed.set()
        self._beats.join()

    def _keep_alive(self) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            try:
                with transaction() as session:
                    if chores.beat(session, self.id, self.claim, self._progress):
                        self._cancelled.set()
            except chores.ChoreLost:
                # Deleted, or claimed by another after we were thought dead: not one more file may be touched.
                os._exit(LOST_EXIT)
            except SQLAlchemyError:
                continue  # the database is away; should another claim the chore meanwhile, the next beat tells


LOST_EXIT = 3
"""The exit code of a process whose chore is not its own any more."""
