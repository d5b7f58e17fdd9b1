"""A zip from a laptop trains: uploaded to a platform as people start it, checked there, learnt by real LLaMA-Factory."""

from __future__ import annotations

import time
from typing import Any

import httpx
import psutil
import pytest

from backend.domain.demonstration import build_train_job
from backend.launch.state import find_state
from tests.e2e.conftest import RunningPlatform, wait_for_job
from tests.librarian.conftest import make_talks, make_zip

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


def _wait(client: httpx.Client, dataset_id: str) -> dict[str, Any]:
    end = time.monotonic() + 240
    while True:
        dataset: dict[str, Any] = client.get(f"/datasets/{dataset_id}").raise_for_status().json()
        if dataset["status"] not in ("importing", "checking"):
            return dataset
        assert time.monotonic() < end, dataset
        time.sleep(0.2)


def test_a_zip_from_a_laptop_is_learnt(platform: RunningPlatform) -> None:
    files = {"file": ("问答 QA.zip", make_zip(make_talks(6)))}
    with platform.sign_in("uploader") as client:
        dataset = client.post("/datasets", files=files).raise_for_status().json()
        dataset = _wait(client, dataset["id"])
        assert (dataset["status"], dataset["name"], dataset["usable_count"]) == ("ready", "问答-QA", 6), (
            dataset
        )
        body = build_train_job() | {"datasets": [dataset["name"]]}
        body["args"] |= {"max_steps": 2, "logging_steps": 1}
        job_id = client.post("/jobs", json=body).raise_for_status().json()["id"]
        job = wait_for_job(client, job_id)
        assert job["status"] == "succeeded", job["error"]
        assert job["spec"]["datasets"] == ["问答-QA@1"]
        log = client.get(f"/jobs/{job_id}/logs", params={"limit": 8 << 20}).text
        assert "Num examples = 6" in log


def test_a_killed_librarian_is_started_again_by_the_launcher(platform: RunningPlatform) -> None:
    state = find_state(platform.home)
    assert state is not None
    mark = state.children["librarian"]
    killed = mark.find()
    assert killed is not None
    killed.kill()
    psutil.wait_procs([killed], timeout=30)
    with platform.sign_in("uploader") as client:
        made = client.post("/datasets", files={"file": ("a.jsonl", b'{"instruction": "a", "output": "b"}')})
        assert _wait(client, made.raise_for_status().json()["id"])["status"] == "ready"
