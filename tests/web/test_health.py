"""Whether the platform lives and can work, and numbers for a monitor, for those who may read them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from backend.app import app
from backend.database import transaction
from backend.domain import demonstration
from backend.domain.protocol import Device
from backend.services import catalogue, uptime
from backend.settings import get_settings
from backend.tables.base import utc_now
from tests.factories import build_devices, make_dataset, make_model, make_user, register_node, start_job

Configure = Callable[[str, str], None]


def test_it_says_that_it_lives(web_client: TestClient) -> None:
    assert web_client.get("/healthz").json() == {"status": "ok"}


def test_it_is_ready_once_there_is_a_node_and_the_demonstration(
    web_client: TestClient, tuneforge_home: Path
) -> None:
    answer = web_client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "checks": {
            "database": "ok", "redis": "ok", "home": "ok", "node": "no node is online",
            "librarian": "silent; imports, checks and downloads wait", "demonstration": "being made",
        },
    }  # fmt: skip
    register_node()
    make_model(tuneforge_home, demonstration.MODEL_NAME)
    make_dataset(tuneforge_home, demonstration.TRAIN_DATASET_NAME)
    make_dataset(tuneforge_home, demonstration.HELDOUT_DATASET_NAME)
    with transaction() as session:
        catalogue.discover(session)
        uptime.note_alive(session, uptime.LIBRARIAN, utc_now() - timedelta(seconds=uptime.GAP_SECONDS + 1))
    assert web_client.get("/readyz").json()["checks"]["librarian"] != "ok", "it was heard too long ago"
    with transaction() as session:
        uptime.note_alive(session, uptime.LIBRARIAN, utc_now())
    answer = web_client.get("/readyz")
    assert answer.status_code == 200
    assert set(answer.json()["checks"].values()) == {"ok"}


def test_it_notes_for_the_reaper_that_it_answers(web_client: TestClient) -> None:
    end = time.monotonic() + 60
    answered = 0.0
    while answered == 0.0 and time.monotonic() < end:
        time.sleep(0.1)
        with transaction() as session:
            answered = uptime.measure_answering_seconds(session, utc_now())
    assert answered > 0


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("REDIS_URL", "redis://:hidden@127.0.0.1:1/0", "redis"),
        ("TUNEFORGE_HOME", "/nonexistent/hidden", "home"),
    ],
)
def test_what_is_away_is_named_without_its_address(
    web_client: TestClient, configure: Configure, name: str, value: str, part: str
) -> None:
    configure(name, value)
    answer = web_client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"][part] != "ok"
    assert answer.json()["checks"]["database"] == "ok"
    assert "hidden" not in answer.text
    assert "127.0.0.1" not in answer.text


def test_metrics_count_jobs_nodes_and_devices(database: None, running_app: TestClient) -> None:
    odd = Device(uuid="x", kind='a"b\\c\nd', name="odd", index=0, memory_bytes=1)
    register_node("node-1", [*build_devices(3), odd])
    start_job(make_user("ann"))
    local = TestClient(app, client=("127.0.0.1", 1))
    lines = local.get("/metrics").text.splitlines()
    assert 'tuneforge_jobs{status="running"} 1' in lines
    assert 'tuneforge_jobs{status="queued"} 0' in lines
    assert "tuneforge_nodes_online 1" in lines
    assert 'tuneforge_gpus{kind="cpu",state="free"} 2' in lines
    assert 'tuneforge_gpus{kind="cpu",state="busy"} 1' in lines
    assert 'tuneforge_gpus{kind="a\\"b\\\\c\\nd",state="free"} 1' in lines
    assert all(line.startswith(("#", "tuneforge_")) for line in lines)


@pytest.mark.parametrize(
    ("setting", "address", "with_token", "status"),
    [
        ("loopback", "127.0.0.1", False, 200),
        ("loopback", "::1", False, 200),
        ("loopback", "10.0.0.9", False, 401),
        ("loopback", "unknown", False, 401),
        ("loopback", "10.0.0.9", True, 200),
        ("token", "127.0.0.1", False, 401),
        ("token", "10.0.0.9", True, 200),
    ],
)
def test_metrics_are_for_this_machine_or_by_token_as_the_setting_says(
    database: None,
    running_app: TestClient,
    configure: Configure,
    setting: str,
    address: str,
    with_token: bool,
    status: int,
) -> None:
    configure("TUNEFORGE_METRICS", setting)
    headers = {"Authorization": f"Bearer {get_settings().node_token}"} if with_token else {}
    assert TestClient(app, client=(address, 1)).get("/metrics", headers=headers).status_code == status
    wrong = {"Authorization": "Bearer \xe9wrong".encode("latin-1")}
    assert TestClient(app, client=("10.0.0.9", 1)).get("/metrics", headers=wrong).status_code == 401  # type: ignore[arg-type]
