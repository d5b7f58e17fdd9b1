"""Dropping rows that have served their time."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from backend.settings import get_settings
from backend.tables.audit import AuditEntry
from backend.tables.base import utc_now
from backend.tables.chore import Chore
from backend.tables.idempotency import IdempotencyKey
from backend.tables.user import FailedLogin
from backend.tables.user import Session as BrowserSession

IDEMPOTENCY_DAYS = 7
FAILED_LOGIN_DAYS = 1
CHORE_DAYS = 30


def prune(session: Session) -> None:
    """Drop expired sessions, old failed log-ins, idempotency keys and chores, and the trail's old end."""
    now = utc_now()
    session.execute(delete(BrowserSession).where(BrowserSession.expires_at < now))
    session.execute(
        delete(FailedLogin).where(FailedLogin.created_at < now - timedelta(days=FAILED_LOGIN_DAYS))
    )
    session.execute(
        delete(IdempotencyKey).where(IdempotencyKey.created_at < now - timedelta(days=IDEMPOTENCY_DAYS))
    )
    session.execute(delete(Chore).where(Chore.finished_at < now - timedelta(days=CHORE_DAYS)))
    session.execute(
        delete(AuditEntry).where(AuditEntry.created_at < now - timedelta(days=get_settings().audit_days))
    )
