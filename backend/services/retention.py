"""Of a job that succeeded, no more checkpoints are kept over all its attempts than it asked for (`save_total_limit`).

transformers counts those of one attempt only, so a job that was preempted ten times would keep ten times as many. Jobs
that may be resumed keep all: only their node can tell which of them are whole.
"""

from __future__ import annotations

import re
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend import storage
from backend.domain.job import JobStatus
from backend.services import jobs
from backend.tables.artifact import Artifact
from backend.tables.base import utc_now
from backend.tables.job import Job

LOOK_BACK_DAYS = 7
_CHECKPOINT = re.compile(r"checkpoint-([0-9]{1,9})/")


def drop_old_checkpoints(session: Session) -> int:
    """Remove what earlier attempts of succeeded jobs keep beyond the limit; return how many checkpoints."""
    since = utc_now() - timedelta(days=LOOK_BACK_DAYS)
    query = select(Job).where(
        Job.status == JobStatus.SUCCEEDED,
        Job.attempt > 1,
        Job.finished_at.is_not(None),
        Job.finished_at > since,
    )
    return sum(_drop_of(session, job) for job in session.scalars(query).all())


def _drop_of(session: Session, job: Job) -> int:
    limit = job.spec.get("args", {}).get("save_total_limit")
    if not isinstance(limit, int) or jobs.is_model_in_use(session, job):
        return 0
    found = storage.list_checkpoints(job.id)
    kept = set(sorted({step for _, step in found}, reverse=True)[:limit])
    dropped = [(attempt, step) for attempt, step in found if attempt < job.attempt and step not in kept]
    earlier = select(Artifact).where(Artifact.job_id == job.id, Artifact.attempt < job.attempt)
    for file in session.scalars(earlier).all():
        match = _CHECKPOINT.match(file.name)
        if match and int(match.group(1)) not in kept:
            session.delete(file)
    session.flush()
    for attempt, step in dropped:
        storage.delete_checkpoint(job.id, attempt, step)
    return len(dropped)
