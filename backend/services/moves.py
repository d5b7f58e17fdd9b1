"""The only writer of a job's status: one legal move, one row, one event."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, or_, update
from sqlalchemy.orm import Session

from backend.domain.job import ACTIVE, JobStatus, is_legal_move
from backend.tables.job import Job, JobEvent, JobShare


class StaleJob(Exception):
    """The job is no longer where the mover saw it; somebody else moved it first."""


def move(session: Session, job: Job, new: JobStatus, reason: str | None = None, **values: Any) -> None:
    """Move `job` to `new`, setting `values` with it.

    The row is changed only if its status and attempt are still those of `job`; otherwise StaleJob is raised
    and nothing is written. `job` is refreshed.
    """
    old, attempt, job_id = JobStatus(job.status), job.attempt, job.id
    if not is_legal_move(old, new):
        raise StaleJob(f"{job_id}: {old} → {new} is not a move")
    result = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.status == old, Job.attempt == attempt)
        .values(status=new, **values)
        .execution_options(synchronize_session=False)
    )
    if result.rowcount != 1:  # type: ignore[attr-defined]
        raise StaleJob(f"{job_id} is not {old} in attempt {attempt} any more")
    if old in ACTIVE and new not in ACTIVE and job.max_nodes > 1:
        _forget_shares(session, job_id, attempt)
    session.add(JobEvent(job_id=job_id, old=old, new=new, reason=reason, attempt=attempt))
    session.flush()
    session.refresh(job)


def _forget_shares(session: Session, job_id: str, attempt: int) -> None:
    """Give back what an ended attempt held on further nodes, unless something of it may still run there."""
    session.execute(
        delete(JobShare)
        .where(
            JobShare.job_id == job_id,
            JobShare.attempt == attempt,
            or_(JobShare.lease_hash.is_(None), JobShare.ended_at.is_not(None)),
        )
        .execution_options(synchronize_session=False)
    )
