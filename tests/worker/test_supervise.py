"""Supervisors against the real backend, with the fake trainer: nothing is lost and nothing runs twice."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import redis

from backend import queue, storage
from backend.database import transaction
from backend.domain.job import JobStatus
from backend.services import dispatch, jobs
from backend.tables.job import Job
from tests.factories import assign_jobs, build_devices, read_job, register_node
from tests.worker.conftest import (
    Door,
    Node,
    ask_to_stop,
    describe_job,
    list_job_processes,
    resume,
    run_to_end,
    run_until,
    wait_until,
)

Submit = Callable[..., str]
StartNode = Callable[..., Node]


def count_steps(ledger: Path) -> Counter[int]:
    """Return how often each step was made, by the trainers' own account."""
    return Counter(int(line.split()[1]) for line in ledger.read_text().splitlines())


def list_curve(job_id: str) -> list[int]:
    """Return the steps of the job's curve."""
    with transaction() as session:
        return [point.step for point in jobs.list_points(session, job_id, -1)]


def is_at_step(step: int) -> Callable[[Job], bool]:
    """Return the condition that a job runs and has made a step."""
    return lambda job: job.status == JobStatus.RUNNING and job.step >= step


# -- the ordinary life ---------------------------------------------------------------------------------------


def test_a_job_runs_from_its_ring_to_its_results(start_node: StartNode, submit_fake: Submit) -> None:
    start_node()
    job = run_to_end(submit_fake(steps=8))
    assert (job.status, job.end_reason, job.step, job.total_steps) == ("succeeded", "completed", 8, 8)
    assert job.results == {"train_loss": 1 / 8}
    assert list_curve(job.id) == list(range(1, 9))
    assert job.actual["peak_memory_bytes"] == 8 << 20
    assert job.actual["step_seconds_median"] == pytest.approx(0.05)
    folder = storage.get_attempt_folder(job.id, 1)
    assert (folder / "exit_code").read_text().strip() == "0"
    assert job.log_bytes == (folder / "job.log").stat().st_size
    config = json.loads((folder / "output" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"


def test_what_is_assigned_starts_without_its_ring(
    start_node: StartNode, submit_fake: Submit, redis_url: str
) -> None:
    node = start_node()
    job_id = submit_fake(steps=3)
    run_until(job_id, lambda job: job.status != JobStatus.QUEUED)
    with redis.from_url(redis_url) as client:
        client.flushall()
    assert run_to_end(job_id).status == "succeeded", node.log.read_text()


def test_the_doorbell_is_heard_again_after_its_connections_were_cut(
    start_node: StartNode, submit_fake: Submit, redis_url: str
) -> None:
    start_node()
    assert run_to_end(submit_fake(steps=1)).status == "succeeded"
    with redis.from_url(redis_url) as client:
        blocked = {entry["id"] for entry in client.client_list() if entry["cmd"] == "brpop"}
        assert blocked
        for number in blocked:
            client.client_kill_filter(_id=number)
        wait_until(
            lambda: any(e["cmd"] == "brpop" and e["id"] not in blocked for e in client.client_list()), 20
        )
    assert run_to_end(submit_fake(steps=1)).status == "succeeded"


def test_a_ring_that_comes_many_times_starts_one_run(
    start_node: StartNode, submit_fake: Submit, tmp_path: Path
) -> None:
    start_node()
    ledger = tmp_path / "ledger"
    job_id = submit_fake(steps=30, ledger=str(ledger))
    run_until(job_id, is_at_step(2))
    for _ in range(20):
        queue.get_celery().send_task("worker.start_attempt", args=[job_id, 1], queue="node.node-1")
    assert run_to_end(job_id).status == "succeeded"
    assert set(count_steps(ledger).values()) == {1}


# -- stopping and going on -------------------------------------------------------------------------------------


def test_a_stop_saves_its_step_and_a_resume_repeats_none(
    start_node: StartNode, submit_fake: Submit, tmp_path: Path
) -> None:
    start_node()
    ledger = tmp_path / "ledger"
    job_id = submit_fake(steps=60, ledger=str(ledger), save_steps=7)
    run_until(job_id, is_at_step(10))
    ask_to_stop(job_id)
    job = run_to_end(job_id)
    assert (job.status, job.end_reason) == ("cancelled", "user_cancelled")
    made = max(count_steps(ledger))
    assert job.checkpoint_step == job.step == made < 60
    resume(job_id)
    job = run_to_end(job_id)
    assert (job.status, job.attempt, job.step) == ("succeeded", 2, 60)
    assert count_steps(ledger) == Counter(range(1, 61))
    assert list_curve(job_id) == list(range(1, 61))
    assert (storage.get_attempt_folder(job_id, 2) / "output" / f"checkpoint-{made}").is_dir()


def test_a_run_that_does_not_obey_is_killed_and_so_is_one_without_a_step(
    start_node: StartNode, submit_fake: Submit
) -> None:
    start_node()
    job_id = submit_fake(steps=5, step_seconds=60)
    run_until(job_id, lambda job: job.status == JobStatus.RUNNING and bool(list_job_processes()))
    began = time.monotonic()
    ask_to_stop(job_id)
    assert run_to_end(job_id).end_reason == "user_cancelled"
    assert time.monotonic() - began < 15
    assert list_job_processes() == []


def test_a_node_that_is_stopped_saves_its_jobs_and_the_next_goes_on(
    start_node: StartNode, submit_fake: Submit, tmp_path: Path
) -> None:
    node = start_node(TUNEFORGE_CPU_SLOTS="2")
    ledgers = [tmp_path / "ledger0", tmp_path / "ledger1"]
    job_ids = [submit_fake(steps=60, ledger=str(ledger)) for ledger in ledgers]
    for job_id in job_ids:
        run_until(job_id, is_at_step(5))
    began = time.monotonic()
    node.end(signal.SIGTERM)
    assert time.monotonic() - began < 20
    assert list_job_processes() == []
    for job_id in job_ids:
        job = read_job(job_id)
        assert (job.status, job.attempt, job.faults) == ("queued", 2, 0), describe_job(job_id)
    assert assign_jobs() == 0, "the node that has left was given work"
    node.start()
    for job_id, ledger in zip(job_ids, ledgers, strict=True):
        assert run_to_end(job_id).status == "succeeded"
        assert count_steps(ledger) == Counter(range(1, 61))


def test_a_node_told_to_quit_leaves_its_jobs_running(
    start_node: StartNode, submit_fake: Submit, tmp_path: Path
) -> None:
    node = start_node()
    ledger = tmp_path / "ledger"
    job_id = submit_fake(steps=60, ledger=str(ledger))
    run_until(job_id, is_at_step(3))
    node.end(signal.SIGQUIT)
    assert len(list_job_processes()) == 1
    assert run_to_end(job_id).status == "succeeded"
    assert count_steps(ledger) == Counter(range(1, 61))


# -- faults ----------------------------------------------------------------------------------------------------


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
