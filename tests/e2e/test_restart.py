"""Ctrl-C in the middle of a job, and the next start: the job goes on by itself from the step it had reached."""

from __future__ import annotations

import pytest

from backend.domain.demonstration import build_train_job
from tests.e2e.conftest import RunningPlatform, wait_for_job, wait_for_step

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


def test_a_running_job_is_checkpointed_and_goes_on_after_the_next_start(platform: RunningPlatform) -> None:
    body = build_train_job()
    body["args"] |= {"max_steps": 120, "logging_steps": 1}
    with platform.sign_in("keeper") as client:
        job_id = client.post("/jobs", json=body).raise_for_status().json()["id"]
        wait_for_step(client, job_id, 5)
    platform.stop()
    seconds = platform.start()
    print(f"the second start took {seconds:.1f} s")
    with platform.sign_in("keeper") as client:
        job = wait_for_job(client, job_id)
        assert (job["status"], job["attempt"]) == ("succeeded", 2), job["error"]
        events = client.get(f"/jobs/{job_id}/events", params={"sort": "created_at"}).json()["data"]
        assert next(event["reason"] for event in events if event["old"] == "running") == "node_stopped"
        points = client.get(f"/jobs/{job_id}/metrics").json()["points"]
        log = client.get(f"/jobs/{job_id}/logs", params={"limit": 8 << 20})
    with_loss = [point for point in points if "loss" in point]
    assert [point["step"] for point in with_loss] == list(range(1, 121))
    attempts = [point["attempt"] for point in with_loss]
    assert attempts == sorted(attempts), "no step was trained twice"
    assert set(attempts) == {1, 2}
    assert log.headers["X-Log-Complete"] == "true"
