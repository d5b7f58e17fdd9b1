"""For how long nodes could reach us without a gap: the only time that counts against a silent one."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import case
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.tables.pulse import Pulse

RENEW_SECONDS = 5.0
GAP_SECONDS = 30.0
"""Silence after which counting begins anew; a restart of the web process takes less."""

_NAME = "api"


def note_answering(session: Session, now: datetime) -> None:
    """Note that this web process answers and reaches the database."""
    statement = insert(Pulse).values(name=_NAME, since=now, renewed_at=now)
    broken = Pulse.renewed_at < now - timedelta(seconds=GAP_SECONDS)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"since": case((broken, now), else_=Pulse.since), "renewed_at": now}
        )
    )


def measure_answering_seconds(session: Session, now: datetime) -> float:
    """Return for how long we have answered without a gap until `now`; 0 when we do not answer."""
    pulse = session.get(Pulse, _NAME)
    if pulse is None or now - pulse.renewed_at > timedelta(seconds=GAP_SECONDS):
        return 0.0
    return (now - pulse.since) / timedelta(seconds=1)
