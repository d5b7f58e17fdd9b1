"""Supervisors against the real backend, with the fake trainer: nothing is lost and nothing runs twice."""

from __future__ import annotations

from collections.abc import Callable

from tests.worker.conftest import Node, run_to_end


def test_a_job_runs_from_its_ring_to_its_results(
    start_node: Callable[..., Node], submit_fake: Callable[..., str]
) -> None:
    start_node()
    job = run_to_end(submit_fake(steps=8))
    assert (job.status, job.end_reason, job.step, job.total_steps) == ("succeeded", "completed", 8, 8)
    assert job.results == {"train_loss": 1 / 8}
