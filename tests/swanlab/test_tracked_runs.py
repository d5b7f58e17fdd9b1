"""The real client in real LLaMA-Factory runs: what arrives, and that nothing it meets costs the run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.swanlab_cloud import DEFAULT_KEY, USERNAME
from tests.swanlab.conftest import FakeCloud, TrackedRun

pytestmark = pytest.mark.real

StartCloud = Callable[..., FakeCloud]
RunTracked = Callable[..., TrackedRun]


def test_metrics_columns_log_and_link_arrive(start_cloud: StartCloud, run_tracked: RunTracked) -> None:
    cloud = start_cloud()
    run = run_tracked("cloud", cloud.url, cold=True)
    assert run.exit_code == 0, run.output[-3000:]

    posted = [entry for entry in cloud.requests if entry["path"] == "/api/house/metrics"]
    scalars = [
        point for entry in posted if entry["body"]["type"] == "scalar" for point in entry["body"]["metrics"]
    ]
    losses = {point["index"]: point["data"] for point in scalars if point["key"] == "train/loss"}
    assert losses == pytest.approx(read_losses(run.folder), abs=5e-4)
    assert {point["index"] for point in scalars if point["key"] == "train/learning_rate"} == set(range(1, 7))
    assert any(entry["body"]["type"] == "log" for entry in posted)

    columns = [column for entry in find(cloud, "/series") for column in entry["body"]["series"]]
    assert {"train/loss", "train/grad_norm", "train/learning_rate"} <= {column["key"] for column in columns}
    assert [entry["body"]["state"] for entry in find(cloud, "/state")] == ["FINISHED"]

    experiment = find(cloud, "/experiment")[0]["body"]
    assert experiment["name"] == "tiny-run"
    assert run.tracking is not None
    assert run.tracking.mode == "cloud"
    assert run.tracking.url == f"{cloud.url}/@{USERNAME}/tuneforge/runs/{experiment['cuid']}"


def test_the_key_travels_in_the_login_header_only(start_cloud: StartCloud, run_tracked: RunTracked) -> None:
    cloud = start_cloud()
    run = run_tracked("cloud", cloud.url)
    assert run.exit_code == 0, run.output[-3000:]
    with_key = [entry for entry in cloud.requests if DEFAULT_KEY in json.dumps(entry)]
    assert with_key, "the client logged in with the key"
    for entry in with_key:
        assert entry["path"] == "/api/login/api_key"
        assert entry["headers"].pop("authorization") == DEFAULT_KEY
        assert DEFAULT_KEY not in json.dumps(entry)
    assert not [path for path in list_files(run.folder) if DEFAULT_KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize("mode", ["reject", "error", "hang"])
def test_a_cloud_that_refuses_breaks_or_hangs_leaves_a_local_run(
    mode: str, start_cloud: StartCloud, run_tracked: RunTracked
) -> None:
    cloud = start_cloud(mode)
    run = run_tracked("cloud", cloud.url, probe_seconds=4)
    assert run.exit_code == 0, run.output[-3000:]
    assert len(cloud.requests) == 1, "one probe, and the client itself was never let near"
    assert run.tracking is not None
    assert (run.tracking.mode, run.tracking.url) == ("local", None)
    assert run.tracking.detail
    assert "改为本地跟踪" in run.output
    assert len(read_losses(run.folder)) == 6
    assert "train/loss" in list_local_tags(run.folder)


@pytest.mark.parametrize("mode", ["reject-after:1", "error-after:2"])
def test_a_client_that_fails_after_the_probe_leaves_a_local_run(
    mode: str, start_cloud: StartCloud, run_tracked: RunTracked
) -> None:
    cloud = start_cloud(mode)
    run = run_tracked("cloud", cloud.url)
    assert run.exit_code == 0, run.output[-3000:]
    assert cloud.requests[-1]["headers"]["x-swanlab-sdk-version"], "the client itself was refused"
    assert run.tracking is not None
    assert run.tracking.mode == "local"
    assert "train/loss" in list_local_tags(run.folder)


def test_a_cloud_that_hangs_after_the_login_is_given_up(
    start_cloud: StartCloud, run_tracked: RunTracked
) -> None:
    cloud = start_cloud("hang-after:2")
    run = run_tracked("cloud", cloud.url, setup_seconds=6)
    assert run.exit_code == 0, run.output[-3000:]
    assert [entry["status"] for entry in cloud.requests] == [200, 200, None]
    assert run.tracking is not None
    assert run.tracking.mode == "off"
    assert "did not start within 6 s" in run.output
    assert len(read_losses(run.folder)) == 6


@pytest.mark.parametrize("mode", ["die-after:8", "hang-after:8"])
def test_a_cloud_lost_in_the_middle_holds_the_run_for_seconds_only(
    mode: str, start_cloud: StartCloud, run_tracked: RunTracked
) -> None:
    cloud = start_cloud(mode)
    run = run_tracked("cloud", cloud.url, finish_seconds=4)
    assert run.exit_code == 0, run.output[-3000:]
    assert any(entry["status"] is None for entry in cloud.requests), "the cloud was lost"
    assert not find(cloud, "/state", status=200), "and never heard of the end"
    assert run.tracking is not None
    assert run.tracking.mode == "cloud"
    assert run.tracking.url
    assert run.tracking.detail == "the last records were not uploaded"
    assert len(read_losses(run.folder)) == 6


def test_a_run_that_fails_while_the_cloud_is_lost_ends_as_its_own_failure(
    start_cloud: StartCloud, run_tracked: RunTracked
) -> None:
    cloud = start_cloud("die-after:8")
    run = run_tracked("cloud", cloud.url, finish_seconds=4, crash=True)
    assert run.exit_code == 1, "the client's own hook would have waited for the cloud without end"
    assert "RuntimeError: the run's own fault" in run.output


def find(cloud: FakeCloud, ending: str, status: int | None = None) -> list[dict[str, Any]]:
    """Return the requests whose path ends so."""
    wanted = [entry for entry in cloud.requests if entry["path"].endswith(ending)]
    return [entry for entry in wanted if status is None or entry["status"] == status]


def read_losses(folder: Path) -> dict[int, float]:
    """Return LLaMA-Factory's own record of the loss, by step."""
    lines = (folder / "output" / "trainer_log.jsonl").read_text().splitlines()
    points = [json.loads(line) for line in lines]
    return {point["current_steps"]: point["loss"] for point in points if "loss" in point}


def list_local_tags(folder: Path) -> set[str]:
    """Return the names of the metrics in SwanLab's local store."""
    with sqlite3.connect(folder / "swanlog" / "runs.swanlab") as database:
        return {name for (name,) in database.execute("SELECT name FROM tag")}


def list_files(folder: Path) -> list[Path]:
    """Return every regular file of an attempt, but not what its links lead to."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
