"""Where a supervisor ends a run: the log's limit, the fence, a later attempt, a stop that is not obeyed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.context import ForkProcess
from pathlib import Path

import psutil
import pytest

from backend import storage
from backend.database import transaction
from backend.domain.job import EndReason, JobStatus
from backend.domain.protocol import AttemptKey, LaunchOrder
from backend.services import endings
from backend.services.moves import StaleJob
from backend.settings import get_settings
from backend.tables.job import Job
from tests.factories import assign_jobs, build_devices, read_job, register_node
from tests.worker.conftest import (
    FAKE_TRAINER,
    Door,
    ask_to_stop,
    count_steps,
    describe_job,
    list_curve,
    list_job_processes,
    run_until,
    wait_until,
)
from worker import account, supervision
from worker.api import BackendClient
from worker.settings import WorkerSettings, read_settings
from worker.supervise import supervise_safely

Submit = Callable[..., str]
Supervise = Callable[..., ForkProcess]


class SmallOrders(BackendClient):
    """The real client; the orders it is given have limits that a test can reach."""

    fence_seconds = 600.0

    def claim(self, key: AttemptKey, node: str, supervisor: str) -> LaunchOrder:
        """Claim, and lower the limits."""
        order = super().claim(key, node, supervisor)
        return order.model_copy(update={"log_limit_bytes": 1 << 20, "fence_seconds": self.fence_seconds})


@pytest.fixture
def settings(door: Door, tuneforge_home: Path) -> WorkerSettings:
    """The settings of a node that is registered but has no process."""
    register_node("node-1", build_devices(1))
    return read_settings(
        {
            "TUNEFORGE_HOME": str(tuneforge_home),
            "TUNEFORGE_SERVER_URL": door.url,
            "TUNEFORGE_NODE_TOKEN": get_settings().node_token,
            "TUNEFORGE_NODE_NAME": "node-1",
            "TUNEFORGE_RUN_COMMAND": f"{sys.executable} {FAKE_TRAINER}",
        }
    )


@pytest.fixture
def supervise(settings: WorkerSettings) -> Iterator[Supervise]:
    """Assigns a job and starts its supervisor alone, forked as the warm parent does."""
    started: list[ForkProcess] = []

    def start(job_id: str, fence_seconds: float = 600.0) -> ForkProcess:
        assign_jobs()
        client = SmallOrders(settings.server_url, settings.node_token, answer_seconds=2)
        client.fence_seconds = fence_seconds
        key = AttemptKey(job_id=job_id, attempt=read_job(job_id).attempt)
        process = multiprocessing.get_context("fork").Process(
            target=supervise_safely, args=(settings, client, key), daemon=True
        )
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()
    for run in list_job_processes():
        run.kill()


def test_a_log_that_grows_too_long_ends_in_a_clear_line(supervise: Supervise, submit_fake: Submit) -> None:
    job_id = submit_fake(steps=10, at=4, do="flood")
    supervise(job_id)
    job = run_until(job_id, lambda job: job.status == JobStatus.FAILED)
    assert job.end_reason == "log_limit"
    log = storage.get_attempt_folder(job_id, 1) / "job.log"
    assert "[tuneforge] The log has reached its limit of 1 MiB" in log.read_text().splitlines()[-1]
    assert log.stat().st_size < 6 << 20
    assert job.log_bytes == log.stat().st_size


@pytest.mark.parametrize("is_supervised", [True, False])
def test_a_cut_off_run_ends_by_itself(
    supervise: Supervise, submit_fake: Submit, door: Door, is_supervised: bool
) -> None:
    """By the supervisor, and by the wrapper alone when the supervisor is gone too."""
    job_id = submit_fake(steps=2000)
    supervisor = supervise(job_id, fence_seconds=6.0)
    run_until(job_id, lambda job: job.step >= 2)
    door.kill()
    if not is_supervised:
        supervisor.kill()
    time.sleep(2)
    assert len(list_job_processes()) == 1, "ended long before the fence"
    wait_until(lambda: not list_job_processes(), 15, "the fenced run's end")


def test_the_curve_has_no_hole_where_a_cut_off_run_went_on(
    supervise: Supervise, submit_fake: Submit, door: Door, tmp_path: Path
) -> None:
    """What it made after its last report was saved, so the next attempt does not make it again, but tells of it."""
    ledger = tmp_path / "ledger"
    job_id = submit_fake(steps=120, ledger=str(ledger), save_steps=10)
    supervise(job_id, fence_seconds=4.0)
    run_until(job_id, lambda job: job.step >= 2)
    door.kill()
    wait_until(lambda: not list_job_processes(), 30, "the fenced run's end")
    known, made = read_job(job_id).step, max(count_steps(ledger))
    assert known + 20 < made, "too little was made while nobody could be told"
    door.start()
    # The supervisor may say so itself first, now that it is heard again.
    with suppress(StaleJob), transaction() as session:
        endings.end_attempt(session, session.get_one(Job, job_id), EndReason.NODE_LOST)
    supervise(job_id)
    job = run_until(job_id, lambda job: job.status == JobStatus.SUCCEEDED)
    assert (job.attempt, list_curve(job_id)) == (2, list(range(1, 121)))
    assert sum(count_steps(ledger).values()) < 120 + 20, (
        "it did not go on from what the cut-off run had saved"
    )


def test_a_run_ends_when_the_home_shows_a_later_attempt(
    supervise: Supervise, submit_fake: Submit, tuneforge_home: Path
) -> None:
    job_id = submit_fake(steps=2000)
    supervise(job_id)
    run_until(job_id, lambda job: job.step >= 2)
    (tuneforge_home / "jobs" / job_id / "attempts" / "2").mkdir()
    wait_until(lambda: not list_job_processes(), 15, "the run's end")


def test_a_stop_that_is_not_obeyed_is_bounded(
    supervise: Supervise, submit_fake: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_DEFAULT_STOP_SECONDS", 1.5)
    job_id = submit_fake(steps=10, at=4, do="hang", save_steps=2)
    supervise(job_id)
    run_until(job_id, lambda job: job.step == 3)
    time.sleep(0.5)
    ask_to_stop(job_id)
    job = run_until(job_id, lambda job: job.status == JobStatus.CANCELLED, 15)
    assert (job.end_reason, job.checkpoint_step) == ("user_cancelled", 2)
    assert list_job_processes() == []


def test_a_supervisor_that_fails_again_and_again_gives_its_attempt_up(
    supervise: Supervise, submit_fake: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_place: object) -> None:
        raise RuntimeError("the supervisor's own fault")

    job_id = submit_fake(steps=2000)
    monkeypatch.setattr(account, "read_tracking", fail)
    for _ in range(3):
        supervise(job_id).join(20)
        assert len(list_job_processes()) == 1, "the run goes on without its supervisor"
    monkeypatch.undo()
    supervise(job_id)
    job = run_until(job_id, lambda job: job.status != JobStatus.RUNNING, 20, assigning=False)
    assert (job.status, job.faults) == ("queued", 1), describe_job(job_id)
    assert list_job_processes() == []


def test_a_supervisor_killed_right_after_its_claim_is_replaced(
    supervise: Supervise, submit_fake: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody but it knew the lease: the next is given the same, instead of the job waiting for its lease to be lost."""
    job_id = submit_fake(steps=5)
    monkeypatch.setattr("worker.supervise._write_order", lambda _place, _order: os._exit(9))
    supervise(job_id).join(20)
    monkeypatch.undo()
    assert read_job(job_id).status == JobStatus.RUNNING
    supervise(job_id)
    job = run_until(job_id, lambda job: job.status == JobStatus.SUCCEEDED, assigning=False)
    assert job.attempt == 1


def test_the_lease_is_nobody_elses_to_read_and_the_node_token_is_not_in_reach_of_a_run(
    supervise: Supervise, submit_fake: Submit, settings: WorkerSettings
) -> None:
    job_id = submit_fake(steps=2000)
    supervise(job_id)
    run_until(job_id, lambda job: job.step >= 1)
    private = storage.get_attempt_folder(job_id, 1) / "supervisor"
    assert private.stat().st_mode & 0o077 == 0
    assert (private / "order.json").stat().st_mode & 0o077 == 0
    (run,) = list_job_processes()
    environment = psutil.Process(run.pid).environ()
    assert settings.node_token not in " ".join(environment.values())
    assert {name for name in environment if name.startswith("TUNEFORGE_")} == {
        "TUNEFORGE_ATTEMPT",
        "TUNEFORGE_TRACKING",
    }
    run.send_signal(signal.SIGTERM)
    wait_until(lambda: not list_job_processes(), 15)
