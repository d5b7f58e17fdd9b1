"""What is done to files once the rows that speak of them are committed, and is left undone when they are not."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy import event
from sqlalchemy.orm import Session

logger = logging.getLogger(__name__)


def do_after_commit(session: Session, work: Callable[[], None]) -> None:
    """Have `work` done once this transaction is committed. A process killed in between leaves it to the sweep."""
    works: list[Callable[[], None]] = session.info.setdefault("after_commit", [])
    if not works:
        event.listen(session, "after_commit", _run, once=True)
        event.listen(session, "after_rollback", _forget, once=True)
    works.append(work)


def _run(session: Session) -> None:
    for work in session.info.pop("after_commit", []):
        try:
            work()
        except OSError:
            logger.exception("Files are left to the sweep")


def _forget(session: Session) -> None:
    session.info.pop("after_commit", None)
