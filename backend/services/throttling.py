"""How often a password may be guessed, by account and by address."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.domain.errors import TooManyAttempts
from backend.tables.user import FailedLogin

THROTTLE_MINUTES = 10
MAX_FAILURES_PER_ACCOUNT = 5
MAX_FAILURES_PER_ADDRESS = 30


def take_turns(session: Session, key: str, address: str) -> None:
    """Wait for other attempts on this account or from this address, until the end of the transaction."""
    for name in (f"account {key[:64]}", f"address {address}"):
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def refuse_if_throttled(session: Session, key: str, address: str, now: datetime) -> None:
    """Raise TooManyAttempts after too many failures of the account or the address."""
    since = now - timedelta(minutes=THROTTLE_MINUTES)
    for column, value, most in (
        (FailedLogin.username_key, key[:64], MAX_FAILURES_PER_ACCOUNT),
        (FailedLogin.address, address, MAX_FAILURES_PER_ADDRESS),
    ):
        query = select(func.count(), func.min(FailedLogin.created_at)).where(
            column == value, FailedLogin.created_at > since
        )
        count, oldest = session.execute(query).one()
        if count >= most:
            wait = max(1, int((oldest - since) / timedelta(seconds=1)))
            minutes = wait // 60 + 1
            raise TooManyAttempts(
                f"Too many attempts; try again in {minutes} minutes.",
                wait,
                zh=f"尝试次数过多，请 {minutes} 分钟后再试。",
            )
