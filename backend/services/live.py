"""What a live page follows: jobs as they stand, new metric points, and new pieces of the log.

Every function opens and closes a transaction of its own: a stream that lives for hours holds none.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from backend import storage
from backend.database import transaction
from backend.domain.job import FINISHED, JobStatus
from backend.services import jobs, nodes, scheduling
from backend.services.scheduling import Prospect
from backend.tables.job import Job, MetricRow

LOG_PIECE_BYTES = 256 << 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cursor:
    """How far a stream has come; its text form is the `id` of server-sent events."""

    noted_at: datetime = _EPOCH
    step: int = -1
    log_offset: int = 0

    def __str__(self) -> str:
        microseconds = (self.noted_at - _EPOCH) // timedelta(microseconds=1)
        return f"{microseconds}.{self.step}.{self.log_offset}"


def parse_cursor(text: str | None) -> Cursor:
    """Return the cursor of a `Last-Event-ID`; anything that is not one begins at the beginning."""
    try:
        microseconds, step, offset = (int(part) for part in (text or "").split("."))
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except (ValueError, OverflowError):
        return Cursor()
    if offset < 0 or not -1 <= step < 2**31 or moment < _EPOCH:
        return Cursor()
    return Cursor(moment, step, offset)


@dataclass(frozen=True)
class LiveJob:
    """A job at one moment."""

    job: Job
    prospect: Prospect | None
    node_name: str | None
    log_bytes: int

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return JobStatus(self.job.status) in FINISHED


def read_jobs(job_ids: Collection[str]) -> dict[str, LiveJob]:
    """Return the jobs that still exist, as they stand now."""
    with transaction() as session:
        query = select(Job).where(Job.id.in_(job_ids)).options(joinedload(Job.owner))
        found = session.scalars(query).all()
        prospects = scheduling.find_prospects(session, found)
        return {
            job.id: LiveJob(
                job,
                prospects.get(job.id),
                nodes.find_name(session, job.node_id),
                storage.measure_log(job.id),
            )
            for job in found
        }


def read_points(job_id: str, cursor: Cursor) -> list[MetricRow]:
    """Return the points that came after the cursor."""
    with transaction() as session:
        return list(jobs.list_points_noted(session, job_id, cursor.noted_at, cursor.step))


def read_log_piece(job_id: str, offset: int, *, is_finished: bool) -> tuple[str, int]:
    """Return text of the log from byte `offset`, and the offset after it."""
    data = storage.read_log(job_id, offset, LOG_PIECE_BYTES)
    if is_finished and not data:
        data = storage.read_log(job_id, offset, LOG_PIECE_BYTES, whole_characters=False)
    return data.decode("utf-8", "replace"), offset + len(data)
