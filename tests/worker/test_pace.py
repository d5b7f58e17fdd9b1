"""Many running jobs: the reply stretches the interval, and supervisors obey it, both ways."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import delete, insert, select

from backend.database import transaction
from backend.domain.job import JobStatus
from backend.domain.pace import spread_pause
from backend.services.pace import COUNT_EVERY_SECONDS
from backend.tables.base import new_id
from backend.tables.job import Job
from tests.factories import read_job
from tests.worker.conftest import Node, ask_to_stop, is_at_step, run_until, wait_until

FULL_PAUSE = spread_pause(10.0, 0.0)
"""The shortest that a supervisor may wait when the reply says 10 s."""


def _add_running_jobs(model_id: str, count: int) -> list[str]:
    """Enter jobs that run as `model_id` does, but on no node; return their ids."""
    with transaction() as session:
        row = dict(session.execute(select(Job.__table__).where(Job.id == model_id)).mappings().one())
        rows = [row | {"id": new_id(), "node_id": None, "devices": []} for _ in range(count)]
        session.execute(insert(Job.__table__), rows)
    return [row["id"] for row in rows]


def _measure_pause(job_id: str) -> float:
    """Return the seconds between two reports of the job, as its lease tells of them."""
    leases = []
    for _ in range(2):
        before = read_job(job_id).lease_expires_at
        wait_until(lambda before=before: read_job(job_id).lease_expires_at != before, 60, "a report")
        leases.append(read_job(job_id).lease_expires_at)
    first, second = leases
    assert first is not None
    assert second is not None
    return (second - first).total_seconds()


def test_reports_come_seldom_while_many_jobs_run_and_often_again_when_they_have_ended(
    start_node: Callable[..., Node], submit_fake: Callable[..., str]
) -> None:
    start_node()
    job_id = submit_fake(steps=20_000)
    run_until(job_id, is_at_step(2))
    others = _add_running_jobs(job_id, 1200)
    time.sleep(COUNT_EVERY_SECONDS)
    _measure_pause(job_id)  # the first may have begun before
    # A slow machine only makes a pause longer.
    assert _measure_pause(job_id) >= FULL_PAUSE - 0.5
    with transaction() as session:
        session.execute(delete(Job).where(Job.id.in_(others)))
    wait_until(lambda: _measure_pause(job_id) < FULL_PAUSE / 2, 120, "reports that come often again")
    ask_to_stop(job_id)
    assert run_until(job_id, lambda job: job.status == JobStatus.CANCELLED).end_reason == "user_cancelled"
