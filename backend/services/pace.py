"""How often supervisors are asked to report, by how many jobs run."""

from __future__ import annotations

import time

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.domain.job import JobStatus
from backend.domain.pace import choose_report_seconds
from backend.tables.job import Job

COUNT_EVERY_SECONDS = 3.0
"""Not at every report: so many jobs do not begin or end meanwhile."""

_COUNT = select(func.count()).select_from(Job).where(Job.status == JobStatus.RUNNING)

_counted: tuple[float, int] = (float("-inf"), 0)


def find_report_seconds(session: Session) -> float:
    """Return the seconds until a job's next report."""
    global _counted
    counted_at, running = _counted
    now = time.monotonic()
    if now - counted_at >= COUNT_EVERY_SECONDS:
        running = session.scalar(_COUNT) or 0
        _counted = now, running
    return choose_report_seconds(running)
