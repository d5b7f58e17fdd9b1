"""The audit trail: written where something is changed, in the same transaction, and read by administrators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session

from backend.domain.audit import Action
from backend.domain.usernames import normalize_username
from backend.services.pages import Page, PageWish, read_page
from backend.tables.audit import AuditEntry
from backend.tables.user import User

ADDRESS = "address"
"""Where `Session.info` holds the address that asks; a session that no request opened has none."""


def record(
    session: Session,
    action: Action,
    actor: User | None,
    *,
    target: tuple[str, str] | None = None,
    address: str | None = None,
    **detail: Any,
) -> None:
    """Note that `actor` did `action` to `target`, an (id, name); it is kept or rolled back with the change itself.

    `detail` must hold no secret. Without an `address` the one of the session's request counts.
    """
    target_id, target_name = target or (None, None)
    session.add(
        AuditEntry(
            action=action.value,
            actor_id=actor.id if actor else None,
            actor_name=actor.username if actor else None,
            target_id=target_id,
            target_name=target_name,
            address=address or session.info.get(ADDRESS),
            detail=detail,
        )
    )


@dataclass(frozen=True)
class AuditFilter:
    """What the trail is narrowed to; `user` is an id or a name."""

    user: str | None = None
    action: Action | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def list_entries(session: Session, wanted: AuditFilter, page: PageWish) -> Page[AuditEntry]:
    """Return a page of the trail, newest first."""
    return read_page(session, build_query(session, wanted), page, AuditEntry.id)


def build_query(session: Session, wanted: AuditFilter) -> Select[AuditEntry]:
    """Return the query for the wanted entries, in no order."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.user:
        conditions.append(_is_of(session, wanted.user))
    if wanted.action:
        conditions.append(AuditEntry.action == wanted.action.value)
    if wanted.created_after:
        conditions.append(AuditEntry.created_at >= wanted.created_after)
    if wanted.created_before:
        conditions.append(AuditEntry.created_at < wanted.created_before)
    return select(AuditEntry).where(*conditions)


def _is_of(session: Session, user: str) -> ColumnElement[bool]:
    """An account that is there is looked up by its id, which is indexed; one that is gone by what was noted."""
    _, key = normalize_username(user)
    known = session.scalar(select(User.id).where(or_(User.id == user, User.username_key == key)))
    if known is not None:
        return AuditEntry.actor_id == known
    return or_(AuditEntry.actor_id == user, AuditEntry.actor_name == user)
