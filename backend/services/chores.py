"""Chores: asked for by routes, claimed and kept alive by the librarian, told of in pages.

The row is the queue entry. A claim is a secret that only the process doing the chore knows; once another process has
claimed the chore, whatever the first one still writes is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from backend.tables.base import utc_now
from backend.tables.chore import Chore

OPEN = ("queued", "running")
STALE_SECONDS = 20.0
"""A chore whose process has not been heard for so long is claimed by another."""
MOST_CRASHES = 3
"""So often may a chore's process die by itself (for memory, say) before the chore has failed."""


class ChoreLost(Exception):
    """The chore is somebody else's by now, or is not wanted any more: leave it alone."""


def enqueue(
    session: Session, kind: str, owner_id: str | None, subject_id: str, payload: dict[str, Any]
) -> Chore:
    """Return the open chore of this kind and subject, made now unless there is one already."""
    lock = f"chore {kind} {subject_id}"
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(lock, 0))))
    chore = find_open(session, subject_id, kind)
    if chore is None or chore.cancel_requested:
        if chore is not None:
            _close(chore, "cancelled", None)
            session.flush()
        chore = Chore(kind=kind, owner_id=owner_id, subject_id=subject_id, payload=payload)
        session.add(chore)
        session.flush()
    return chore


def find_open(session: Session, subject_id: str, kind: str | None = None) -> Chore | None:
    """Return the chore that is queued or running for this subject, the newest if there are several kinds."""
    query = select(Chore).where(Chore.subject_id == subject_id, Chore.status.in_(OPEN))
    if kind is not None:
        query = query.where(Chore.kind == kind)
    return session.scalars(query.order_by(Chore.id.desc())).first()


def list_open(session: Session, subject_id: str) -> Sequence[Chore]:
    """Return the chores that are queued or running for this subject."""
    return session.scalars(select(Chore).where(Chore.subject_id == subject_id, Chore.status.in_(OPEN))).all()


def find_last(session: Session, subject_id: str) -> Chore | None:
    """Return the newest chore of this subject, however it stands."""
    return session.scalars(
        select(Chore).where(Chore.subject_id == subject_id).order_by(Chore.id.desc())
    ).first()


def find_latest_of(session: Session, subject_ids: Sequence[str]) -> dict[str, Chore]:
    """Return the newest chore of each of these subjects that has one."""
    query = select(Chore).where(Chore.subject_id.in_(subject_ids)).order_by(Chore.id)
    return {chore.subject_id: chore for chore in session.scalars(query)}


def show_progress(chore: Chore | None) -> dict[str, Any] | None:
    """Return how far an open chore is, as pages show it; None when nothing is under way."""
    if chore is None or chore.status not in OPEN:
        return None
    waiting = {"stage": "queued", "fraction": None}
    return (chore.progress or waiting) if chore.status == "running" else waiting


def cancel(session: Session, subject_id: str, kind: str | None = None) -> bool:
    """Ask that open chores of this subject end; a queued one ends at once. Tell whether there was one."""
    query = select(Chore).where(Chore.subject_id == subject_id, Chore.status.in_(OPEN))
    if kind is not None:
        query = query.where(Chore.kind == kind)
    found = session.scalars(query.with_for_update()).all()
    for chore in found:
        if chore.status == "queued":
            _close(chore, "cancelled", None)
        chore.cancel_requested = True
    return bool(found)


def forget(session: Session, subject_id: str) -> None:
    """Drop all chores of a subject that is deleted; a process that does one of them finds that out and leaves."""
    for chore in session.scalars(select(Chore).where(Chore.subject_id == subject_id)).all():
        session.delete(chore)


# -- what the librarian does with them ---------------------------------------------------------------------


def claim_next(session: Session, kinds: Collection[str]) -> Chore | None:
    """Claim the oldest chore of these kinds that is queued, or whose process fell silent; many may ask at once."""
    now = utc_now()
    silent = (Chore.status == "running") & (Chore.heartbeat_at < now - timedelta(seconds=STALE_SECONDS))
    query = select(Chore).where(Chore.kind.in_(kinds), or_(Chore.status == "queued", silent))
    chore = session.scalars(query.order_by(Chore.id).limit(1).with_for_update(skip_locked=True)).first()
    if chore is not None:
        chore.status, chore.claim, chore.heartbeat_at = "running", secrets.token_hex(16), now
        chore.attempt += 1
        session.flush()
    return chore


def get_claimed(session: Session, chore_id: str, claim: str) -> Chore:
    """Return the chore, locked, if this claim still holds it; raises ChoreLost when it does not."""
    query = select(Chore).where(Chore.id == chore_id, Chore.status == "running", Chore.claim == claim)
    chore = session.scalars(query.with_for_update()).first()
    if chore is None:
        raise ChoreLost(chore_id)
    return chore


def beat(session: Session, chore_id: str, claim: str, progress: dict[str, Any] | None) -> bool:
    """Say that the chore is being done, and how far it is; tell whether it shall be given up."""
    chore = get_claimed(session, chore_id, claim)
    chore.heartbeat_at = utc_now()
    if progress is not None:
        chore.progress = progress
    return chore.cancel_requested


def finish(session: Session, chore_id: str, claim: str, status: str, error: dict[str, Any] | None) -> Chore:
    """End a chore that this claim holds: done, failed or cancelled."""
    chore = get_claimed(session, chore_id, claim)
    _close(chore, status, error)
    return chore


def give_back(session: Session, chore_id: str, claim: str, *, crashed: bool) -> bool:
    """Queue a chore again whose process ended without a last word; tell whether it has crashed too often for that."""
    chore = get_claimed(session, chore_id, claim)
    chore.crashes += crashed
    if chore.crashes >= MOST_CRASHES:
        return False
    chore.status, chore.claim = "queued", None
    return True


def _close(chore: Chore, status: str, error: dict[str, Any] | None) -> None:
    chore.status, chore.error, chore.claim, chore.finished_at = status, error, None, utc_now()
