"""Checkpoints of a succeeded job: as many as it asked for, over all attempts together."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from backend import storage
from backend.database import transaction
from backend.services import retention
from backend.tables.artifact import Artifact
from tests.factories import (
    assign_jobs,
    claim_job,
    finish_job,
    make_user,
    read_job,
    register_node,
    start_job,
    submit_job,
    write_attempt_file,
)

pytestmark = pytest.mark.usefixtures("database")


def run_twice(limit: int | None, last_reason: str = "completed") -> str:
    """Bring a job of two attempts to its end, with checkpoints 10, 20, 30 of the first and 30, 40 of the second."""
    register_node()
    order = start_job(make_user("ann"), spec={"args": {"save_total_limit": limit}})
    for steps, reason in (((10, 20, 30), "preempted"), ((30, 40), last_reason)):
        files = [f"checkpoint-{step}/trainer_state.json" for step in steps]
        for name in files:
            write_attempt_file(order.job_id, order.attempt, f"output/{name}", b"{}")
        finish_job(order, reason, artifacts=[{"name": name, "size_bytes": 2} for name in files])
        if reason == "preempted":
            assert assign_jobs() == 1
            order = claim_job(order.job_id)
    assert read_job(order.job_id).attempt == 2
    return order.job_id


def drop() -> int:
    """Do what the housekeeper does every hour."""
    with transaction() as session:
        return retention.drop_old_checkpoints(session)


def list_files(job_id: str) -> list[tuple[str, int]]:
    """Return the names and attempts of the files that the job shows."""
    with transaction() as session:
        rows = session.scalars(select(Artifact).where(Artifact.job_id == job_id)).all()
        return sorted((row.name, row.attempt) for row in rows)


def test_the_newest_of_all_attempts_are_kept_and_files_that_are_gone_are_not_shown() -> None:
    job_id = run_twice(limit=2)
    assert drop() == 2
    assert storage.list_checkpoints(job_id) == [(1, 30), (2, 30), (2, 40)]
    state = "trainer_state.json"
    assert list_files(job_id) == [(f"checkpoint-30/{state}", 2), (f"checkpoint-40/{state}", 2)]
    assert drop() == 0


@pytest.mark.parametrize(("limit", "reason"), [(None, "completed"), (4, "completed"), (1, "crashed")])
def test_nothing_is_dropped_that_was_asked_for_or_may_be_gone_on_from(limit: int | None, reason: str) -> None:
    job_id = run_twice(limit, reason)
    before = list_files(job_id)
    assert drop() == 0
    assert len(storage.list_checkpoints(job_id)) == 5
    assert list_files(job_id) == before


def test_a_checkpoint_that_an_evaluation_reads_stays() -> None:
    job_id = run_twice(limit=1)
    place = f"jobs/{job_id}/attempts/1/output/checkpoint-10"
    launch = {"model_path": "models/tiny", "adapter_path": place, "datasets": [], "tracking": "off"}
    submit_job(make_user("eve"), kind="evaluate", launch=launch)
    assert drop() == 0
    assert len(storage.list_checkpoints(job_id)) == 5
