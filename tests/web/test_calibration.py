"""What `tuneforge calibrate` tells the backend, and what of it estimates take."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.settings import get_settings
from tests.factories import Person
from tests.web.test_estimate_history import run_job
from tests.web.test_jobs import TRAIN
from tests.web.test_nodes_door import Door

PROBE: dict[str, Any] = {
    "kind": "cpu", "flops_per_second": 57e9, "bytes_per_second": 20e9, "operation_seconds": 11e-6,
    "picture_seconds": 0.05,
}  # fmt: skip


@pytest.fixture
def door(web_client: TestClient) -> Door:
    """The nodes' door, with the token of the installation."""
    return Door(web_client, get_settings().node_token)


def test_estimates_rest_on_what_the_slowest_node_measured(platform: None, owner: Person, door: Door) -> None:
    before = owner.post("/estimates", json=TRAIN).json()
    assert door.post("/nodes/calibration", {"name": "node-1", "probes": [PROBE]}).status_code == 200
    after = owner.post("/estimates", json=TRAIN).json()
    assert (before["basis"], after["basis"], after["learnt_from"]) == ("modelled", "calibrated", 0)
    assert after["modelled_seconds"]["work"] > before["modelled_seconds"]["work"]
    door.register()
    fast = PROBE | {"flops_per_second": 1e12}
    assert door.post("/nodes/calibration", {"name": "gpu-1", "probes": [fast]}).status_code == 200
    assert owner.post("/estimates", json=TRAIN).json()["modelled_seconds"] == after["modelled_seconds"]


def test_what_jobs_taught_of_the_published_figures_is_not_put_on_top_of_measured_ones(
    platform: None, owner: Person, door: Door
) -> None:
    """A machine twice as slow, once learnt from its jobs, then measured: its jobs take twice, not four times as long."""
    for _ in range(9):
        run_job(owner, 2.0)
    learnt = owner.post("/estimates", json=TRAIN).json()
    assert learnt["learnt_from"] == 9
    door.post("/nodes/calibration", {"name": "node-1", "probes": [PROBE]})
    measured = owner.post("/estimates", json=TRAIN).json()
    assert (measured["basis"], measured["learnt_from"]) == ("calibrated", 0)
    assert sum(measured["modelled_seconds"].values()) == pytest.approx(
        measured["duration_seconds"]["expected"], abs=0.5
    )
    run_job(owner, 1.0)
    assert owner.post("/estimates", json=TRAIN).json()["learnt_from"] == 1


def test_measuring_again_replaces_and_other_kinds_stay(platform: None, owner: Person, door: Door) -> None:
    slow, other = PROBE | {"flops_per_second": 1e9}, PROBE | {"kind": "h200"}
    for probes in ([slow, other], [PROBE], [PROBE]):
        assert door.post("/nodes/calibration", {"name": "node-1", "probes": probes}).status_code == 200
    once = owner.post("/estimates", json=TRAIN).json()["modelled_seconds"]
    assert door.post("/nodes/calibration", {"name": "node-1", "probes": []}).status_code == 200
    assert owner.post("/estimates", json=TRAIN).json()["modelled_seconds"] == once


@pytest.mark.parametrize(
    "body",
    [
        {"name": "node-1", "probes": [PROBE | {"flops_per_second": 0}]},
        {"name": "node-1", "probes": [PROBE | {"picture_seconds": -1}]},
        {"name": "node-1", "probes": [PROBE] * 17},
        {"name": "node-1", "probes": [PROBE | {"more": 1}]},
        {"probes": [PROBE]},
        [],
    ],
)
def test_what_is_no_calibration_is_refused(platform: None, door: Door, body: Any) -> None:
    assert door.post("/nodes/calibration", body).status_code == 422


def test_unknown_nodes_strangers_and_other_nodes_are_refused(
    platform: None, web_client: TestClient, administrator: Person, door: Door
) -> None:
    body = {"name": "node-1", "probes": [PROBE]}
    assert door.post("/nodes/calibration", body | {"name": "nobody"}).status_code == 404
    assert web_client.post("/internal/v1/nodes/calibration", json=body).status_code == 401
    token = administrator.request("PUT", "/admin/node-tokens/gpu-9").json()["token"]
    assert Door(web_client, token).post("/nodes/calibration", body).status_code == 403
