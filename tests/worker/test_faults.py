"""Faults around a run: whatever dies, nothing is lost, nothing runs twice, and the reason is told."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from backend import storage
from backend.database import transaction
from backend.domain.job import JobStatus
from backend.services import dispatch
from backend.tables.job import Job
from tests.factories import assign_jobs, build_devices, read_job, register_node
from tests.worker.conftest import (
    Door,
    Node,
    count_steps,
    describe_job,
    is_at_step,
    list_curve,
    list_job_processes,
    run_to_end,
    run_until,
    wait_until,
)

Submit = Callable[..., str]
StartNode = Callable[..., Node]


def test_a_killed_supervisor_is_replaced(start_node: StartNode, submit_fake: Submit, tmp_path: Path) -> None:
    node = start_node()
    ledger = tmp_path / "ledger"
    job_id = submit_fake(steps=100, ledger=str(ledger))
    for step in (5, 30):
        run_until(job_id, is_at_step(step))
        (pid,) = node.list_supervisors()
        psutil.Process(pid).kill()
        wait_until(lambda pid=pid: node.list_supervisors() not in ([], [pid]), 20, "a new supervisor")
    job = run_to_end(job_id)
    assert (job.status, job.attempt) == ("succeeded", 1), describe_job(job_id)
    assert count_steps(ledger) == Counter(range(1, 101))
    assert list_curve(job_id) == list(range(1, 101))


def test_a_job_outlives_its_node_and_supervisor_and_is_finished_by_the_next(
    start_node: StartNode, submit_fake: Submit, tmp_path: Path
) -> None:
    node = start_node()
    ledger = tmp_path / "ledger"
    job_id = submit_fake(steps=40, ledger=str(ledger))
    run_until(job_id, is_at_step(3))
    node.end(signal.SIGKILL)
    for pid in node.list_supervisors():
        psutil.Process(pid).kill()
    wait_until(lambda: not list_job_processes(), 30, "the run's own end")
    assert read_job(job_id).status == JobStatus.RUNNING
    node.start()
    job = run_to_end(job_id)
    assert (job.status, job.attempt) == ("succeeded", 1), describe_job(job_id)
    assert list_curve(job_id) == list(range(1, 41))
    assert count_steps(ledger) == Counter(range(1, 41))


def test_a_machine_that_restarts_goes_on_from_the_last_checkpoint(
    start_node: StartNode, submit_fake: Submit, tmp_path: Path
) -> None:
    node = start_node()
    job_id = submit_fake(steps=60, save_steps=5)
    run_until(job_id, is_at_step(12))
    node.end(signal.SIGKILL)
    for pid in node.list_supervisors():
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            process.kill()
    for process in list_job_processes():
        process.kill()
    node.start()
    job = run_to_end(job_id)
    assert (job.status, job.attempt, job.faults) == ("succeeded", 2, 1), describe_job(job_id)
    assert list_curve(job_id) == list(range(1, 61))


def test_a_run_killed_from_outside_is_tried_again(start_node: StartNode, submit_fake: Submit) -> None:
    start_node()
    job_id = submit_fake(steps=40, save_steps=5)
    run_until(job_id, is_at_step(8))
    (process,) = list_job_processes()
    process.kill()
    job = run_to_end(job_id)
    assert (job.status, job.attempt, job.faults) == ("succeeded", 2, 1), describe_job(job_id)


def test_no_process_of_a_run_outlives_it(start_node: StartNode, submit_fake: Submit) -> None:
    start_node()
    job_id = submit_fake(steps=20, at=4, do="orphan")
    run_until(job_id, lambda job: job.attempt > 1 or job.status == JobStatus.FAILED)
    with transaction() as session:
        session.get_one(Job, job_id).stop_requested_at = datetime.now(UTC)
    run_to_end(job_id)
    assert list_job_processes() == []


def test_a_run_out_of_memory_fails_with_the_line_that_says_so(
    start_node: StartNode, submit_fake: Submit
) -> None:
    start_node()
    job = run_to_end(submit_fake(steps=5, at=3, do="exit"))
    assert (job.status, job.end_reason) == ("failed", "out_of_memory")
    assert job.error is not None
    assert job.error["detail"].startswith("RuntimeError: CUDA out of memory")
    assert "step 2 done" in job.error["log_excerpt"]
    assert list_curve(job.id) == [1, 2]


def test_a_full_disk_fails_the_run_that_filled_it_and_no_other(
    start_node: StartNode, submit_fake: Submit, tuneforge_home: Path, tmp_path: Path
) -> None:
    """The node sees a small file system in the place of the jobs' folder: a mount of its own, nobody else's."""
    (tuneforge_home / "jobs").mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o size=24m tmpfs {tuneforge_home}/jobs && exec "$@"'
    inside = ("unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh")
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a file system of their own")
    start_node(inside=inside, TUNEFORGE_CPU_SLOTS="2")
    ledger = tmp_path / "ledger"
    other = submit_fake(steps=150, ledger=str(ledger), quiet=True)
    full = submit_fake(steps=20, at=5, do="fill", save_steps=3)
    job = run_to_end(full)
    assert (job.status, job.end_reason) == ("failed", "disk_full")
    assert job.error is not None
    assert job.error["detail"] == "OSError: [Errno 28] No space left on device"
    assert job.checkpoint_step == 3
    job = run_to_end(other)
    assert job.status == "succeeded", "the other run was not let live"
    assert count_steps(ledger) == Counter(range(1, 151))

    assert run_to_end(submit_fake(steps=20, at=5, do="hoard")).end_reason == "disk_full"
    job = run_to_end(submit_fake(steps=3))
    assert (job.status, job.end_reason) == ("failed", "disk_full"), "there was no room to begin"


def test_a_run_goes_on_while_the_backend_is_away(
    start_node: StartNode, submit_fake: Submit, door: Door, tmp_path: Path
) -> None:
    start_node()
    ledger = tmp_path / "ledger"
    running = submit_fake(steps=200, ledger=str(ledger))
    run_until(running, is_at_step(5))
    door.kill()
    made = len(ledger.read_text().splitlines())
    time.sleep(4)
    assert len(ledger.read_text().splitlines()) > made + 20
    door.start()
    job = run_to_end(running, 90)
    assert (job.status, job.attempt) == ("succeeded", 1), describe_job(running)
    assert list_curve(running) == list(range(1, 201))
    assert count_steps(ledger) == Counter(range(1, 201))


def test_a_run_that_ends_while_the_backend_is_away_is_reported_afterwards(
    start_node: StartNode, submit_fake: Submit, door: Door
) -> None:
    start_node()
    job_id = submit_fake(steps=40)
    run_until(job_id, is_at_step(5))
    door.kill()
    wait_until(lambda: not list_job_processes(), 30)
    time.sleep(1)
    door.start()
    job = run_to_end(job_id)
    assert (job.status, job.attempt, job.step) == ("succeeded", 1, 40), describe_job(job_id)
    assert list_curve(job_id) == list(range(1, 41))


def test_a_run_whose_lease_is_lost_ends(start_node: StartNode, submit_fake: Submit) -> None:
    start_node()
    job_id = submit_fake(steps=400)
    run_until(job_id, is_at_step(3))
    with transaction() as session:
        session.get_one(Job, job_id).lease_hash = "another's"
    wait_until(lambda: not list_job_processes(), 20, "the run's end")
    assert read_job(job_id).status == JobStatus.RUNNING


def test_a_model_that_is_gone_is_said(
    start_node: StartNode, submit_fake: Submit, tuneforge_home: Path
) -> None:
    start_node()
    job_id = submit_fake(steps=3)
    (tuneforge_home / "models" / "tiny").rmdir()
    job = run_to_end(job_id)
    assert (job.status, job.end_reason) == ("failed", "bad_config")
    assert job.error is not None
    assert "models/tiny" in job.error["detail"]


def test_an_assignment_taken_back_is_not_run_by_its_late_ring(
    start_node: StartNode, submit_fake: Submit, tmp_path: Path
) -> None:
    register_node("node-1", build_devices(1))
    ledger = tmp_path / "ledger"
    job_id = submit_fake(steps=5, ledger=str(ledger))
    assert assign_jobs() == 1
    with transaction() as session:
        session.get_one(Job, job_id).assigned_at = datetime.now(UTC) - timedelta(hours=1)
        assert dispatch.reap(session) == 1
    node = start_node()  # the ring for attempt 1 still lies in its queue
    job = run_to_end(job_id)
    assert (job.status, job.attempt) == ("succeeded", 2), node.log.read_text()
    assert not storage.get_attempt_folder(job_id, 1).exists()
    assert count_steps(ledger) == Counter(range(1, 6))
