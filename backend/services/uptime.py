"""Which of our processes live: for how long nodes could reach us without a gap, and when the librarian last spoke."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import case
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.tables.pulse import Pulse

RENEW_SECONDS = 5.0
GAP_SECONDS = 30.0
"""Silence after which counting begins anew; a restart of the web process takes less."""

API, LIBRARIAN = "api", "librarian"


def note_alive(session: Session, name: str, now: datetime) -> None:
    """Note that this process works and reaches the database; after a gap counting begins anew."""
    statement = insert(Pulse).values(name=name, since=now, renewed_at=now)
    broken = Pulse.renewed_at < now - timedelta(seconds=GAP_SECONDS)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"since": case((broken, now), else_=Pulse.since), "renewed_at": now}
        )
    )


def is_alive(session: Session, name: str, now: datetime) -> bool:
    """Whether this process was heard lately."""
    pulse = session.get(Pulse, name)
    return pulse is not None and now - pulse.renewed_at <= timedelta(seconds=GAP_SECONDS)


def measure_answering_seconds(session: Session, now: datetime) -> float:
    """Return for how long we have answered without a gap until `now`; 0 when we do not answer."""
    pulse = session.get(Pulse, API)
    if pulse is None or not is_alive(session, API, now):
        return 0.0
    return (now - pulse.since) / timedelta(seconds=1)
