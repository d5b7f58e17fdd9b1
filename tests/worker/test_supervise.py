"""Supervisors against the real backend, with the fake trainer: nothing is lost and nothing runs twice."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from backend import queue, storage
from backend.domain.job import JobStatus
from tests.factories import assign_jobs, read_job
from tests.worker.conftest import (
    Node,
    ask_to_stop,
    count_steps,
    describe_job,
    is_at_step,
    list_curve,
    list_job_processes,
    resume,
    run_to_end,
    run_until,
    wait_until,
)

Submit = Callable[..., str]
StartNode = Callable[..., Node]


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


def test_a_stop_waits_for_a_first_step_that_is_about_to_end(
    start_node: StartNode, submit_fake: Submit, tmp_path: Path
) -> None:
    """Killed in it, the run would make that step again."""
    start_node()
    ledger = tmp_path / "ledger"
    job_id = submit_fake(steps=3, step_seconds=2, ledger=str(ledger))
    notes = storage.get_attempt_folder(job_id, 1) / "notes.jsonl"
    run_until(job_id, lambda job: notes.exists() and "train_begin" in notes.read_text())
    ask_to_stop(job_id)
    job = run_to_end(job_id)
    assert job.end_reason == "user_cancelled"
    assert job.checkpoint_step == job.step == max(count_steps(ledger)) < 3
    resume(job_id)
    assert run_to_end(job_id).status == "succeeded"
    assert count_steps(ledger) == Counter([1, 2, 3])


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
