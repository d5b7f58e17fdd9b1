"""The only writer of a status: one legal move, one row, one event, and nothing for who comes too late."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from backend.database import transaction
from backend.domain.job import MOVES, JobStatus
from backend.services import jobs
from backend.services.moves import StaleJob, move
from backend.services.pages import PageWish
from backend.tables.job import Job, JobEvent
from tests.factories import make_user, read_job, submit_job

pytestmark = pytest.mark.usefixtures("database")


def _list_events(job_id: str) -> list[tuple[str | None, str, str | None, int]]:
    with transaction() as session:
        page = jobs.list_events(session, session.get_one(Job, job_id), PageWish(), oldest_first=True)
        return [(event.old, event.new, event.reason, event.attempt) for event in page.rows]


def test_a_move_writes_one_row_and_one_event() -> None:
    job_id = submit_job(make_user("ann"))
    with transaction() as session:
        job = session.get_one(Job, job_id)
        move(session, job, JobStatus.ASSIGNED, "because", devices=["a"])
        assert (job.status, job.devices) == ("assigned", ["a"])
    assert read_job(job_id).status == "assigned"
    assert _list_events(job_id) == [
        (None, "queued", "submitted", 1),
        ("queued", "assigned", "because", 1),
    ]


def test_who_saw_an_older_status_or_attempt_moves_nothing() -> None:
    job_id = submit_job(make_user("ann"))
    with transaction() as late:
        seen = late.get_one(Job, job_id)
        with transaction() as early:
            move(early, early.get_one(Job, job_id), JobStatus.ASSIGNED)
        with pytest.raises(StaleJob):
            move(late, seen, JobStatus.CANCELLED)
    with transaction() as late:
        seen = late.get_one(Job, job_id)
        with transaction() as early:
            requeued = early.get_one(Job, job_id)
            move(early, requeued, JobStatus.QUEUED, attempt=2)
            move(early, requeued, JobStatus.ASSIGNED)
        with pytest.raises(StaleJob):
            move(late, seen, JobStatus.CANCELLED)
    assert read_job(job_id).status == "assigned"
    assert [event[1] for event in _list_events(job_id)] == ["queued", "assigned", "queued", "assigned"]


@pytest.mark.parametrize(
    ("old", "new"), [(old, new) for old in JobStatus for new in JobStatus if (old, new) not in MOVES]
)
def test_what_is_not_in_the_table_is_no_move(old: JobStatus, new: JobStatus) -> None:
    job = Job(id="x", status=old.value, attempt=1)
    with transaction() as session:
        with pytest.raises(StaleJob):
            move(session, job, new)
        assert session.scalars(select(JobEvent)).all() == []
