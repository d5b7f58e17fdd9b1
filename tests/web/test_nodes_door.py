"""The nodes' door over HTTP: its token, and a protocol in which anything may come twice, late or broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from backend.database import transaction
from backend.domain.protocol import PROTOCOL_VERSION, HeartbeatReply, LaunchOrder, Reply, Welcome
from backend.settings import get_settings
from backend.tables.ledger import LedgerEntry
from backend.tables.node import Node, NodeToken
from tests.factories import Person, assign_jobs, build_devices, make_user, read_job, register_node, submit_job

Json = dict[str, Any]

DEVICES = [device.model_dump() for device in build_devices(2)]


class Door:
    """A client that knocks as a node."""

    def __init__(self, client: TestClient, token: str) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {token}"}

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """POST under `/internal/v1`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(f"/internal/v1{path}", json=body, headers=self.headers | named)

    def register(self, **changes: Any) -> httpx.Response:
        """Introduce the node `gpu-1`."""
        body = {"protocol_version": PROTOCOL_VERSION, "name": "gpu-1", "devices": DEVICES}
        return self.post("/nodes/register", body | changes)

    def claim(
        self, job_id: str, attempt: int = 1, node: str = "gpu-1", supervisor: str = "1 boot"
    ) -> httpx.Response:
        """Ask to run an attempt."""
        return self.post(f"/jobs/{job_id}/attempts/{attempt}/claim", {"node": node, "supervisor": supervisor})

    def say(
        self, order: LaunchOrder, what: str = "report", lease: str | None = None, **values: Any
    ) -> httpx.Response:
        """Report, or finish."""
        body = {"phase": "training", "step": 1, "log_bytes": 0} | values
        if what == "finish":
            body = {"end_reason": "completed", "run_seconds": 36.0} | body
        path = f"/jobs/{order.job_id}/attempts/{order.attempt}/{what}"
        return self.post(path, body, X_Lease_Token=order.lease_token if lease is None else lease)


@pytest.fixture
def door(web_client: TestClient) -> Door:
    """The door, with the right token."""
    return Door(web_client, get_settings().node_token)


@pytest.fixture
def order(door: Door) -> LaunchOrder:
    """A claimed attempt of a job on the node `gpu-1`."""
    assert door.register().status_code == 200
    job_id = submit_job(make_user("ann"))
    assign_jobs()
    return LaunchOrder.model_validate(door.claim(job_id).json())


def _check(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


# -- who may knock -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic eDp5", "Bearer \xe9"])
def test_only_the_node_token_opens_the_door(web_client: TestClient, header: str | None) -> None:
    headers: Any = {} if header is None else {"Authorization": header.encode("latin-1")}
    for path in ("/nodes/register", "/nodes/heartbeat", "/jobs/abcdefgh12/attempts/1/claim"):
        _check(web_client.post(f"/internal/v1{path}", json={}, headers=headers), 401)


def test_a_persons_token_does_not_open_the_door(administrator: Person) -> None:
    answer = administrator.client.post("/internal/v1/nodes/register", json={}, headers=administrator.headers)
    _check(answer, 401)


def test_the_door_is_not_in_the_published_document(web_client: TestClient) -> None:
    assert not any(
        path.startswith("/internal") for path in web_client.get("/api/v1/openapi.json").json()["paths"]
    )


# -- nodes -------------------------------------------------------------------------------------------------


def test_a_node_registers_and_is_told_where_its_doorbell_hangs(door: Door) -> None:
    for _ in range(2):
        welcome = Welcome.model_validate(door.register().json())
    assert (welcome.queue, welcome.redis_url) == ("node.gpu-1", get_settings().redis_url)
    assert welcome.fence_seconds == get_settings().fence_seconds
    with transaction() as session:
        assert [node.name for node in session.scalars(select(Node))] == ["gpu-1"]


def test_another_protocol_is_refused_with_what_to_do(door: Door) -> None:
    answer = door.register(protocol_version=PROTOCOL_VERSION + 1)
    _check(answer, 409)
    assert answer.json()["code"] == "protocol_mismatch"
    assert "update" in answer.json()["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../x"}, {"name": ""}, {"name": "UPPER"}, {"name": "x" * 65}, {"devices": [{}]}, {"devices": None},
        {"devices": DEVICES[:1] * 2}, {"surprise": 1}, {"versions": {"x": 1}},
    ],
)  # fmt: skip
def test_what_is_no_registration_is_refused(door: Door, change: Json) -> None:
    _check(door.register(**change), 422)
    with transaction() as session:
        assert session.scalars(select(Node)).all() == []


def test_a_heartbeat_tells_what_is_assigned_and_an_unknown_node_to_register(door: Door) -> None:
    beat = {
        "name": "gpu-1",
        "devices": [device.model_dump() for device in build_devices(2)],
        "free_bytes": 10**13,
    }
    _check(door.post("/nodes/heartbeat", beat), 404)
    door.register()
    reply = HeartbeatReply.model_validate(door.post("/nodes/heartbeat", beat).json())
    assert reply.assigned == []
    job_id = submit_job(make_user("ann"))
    assign_jobs()
    reply = HeartbeatReply.model_validate(door.post("/nodes/heartbeat", beat).json())
    assert [(key.job_id, key.attempt) for key in reply.assigned] == [(job_id, 1)]
    for change in ({"free_bytes": 10**30}, {"devices": DEVICES + DEVICES}, {"name": 5}, {"attempts": [{}]}):
        _check(door.post("/nodes/heartbeat", beat | change), 422)


# -- attempts ----------------------------------------------------------------------------------------------


def test_a_claim_is_given_once_and_again_to_who_asked_first(door: Door) -> None:
    door.register()
    register_node("gpu-2")
    job_id = submit_job(make_user("ann"), gpu_count=2)
    _check(door.claim(job_id), 409)
    assign_jobs()
    _check(door.claim(job_id, node="gpu-2"), 409)
    _check(door.claim(job_id, attempt=2), 409)
    _check(door.claim("nosuchjob0"), 404)
    first, again = (LaunchOrder.model_validate(door.claim(job_id).json()) for _ in range(2))
    assert first == again
    _check(door.claim(job_id, supervisor="2 boot"), 409)
    assert first.devices == ["slot-0", "slot-1"]


def test_reports_and_the_end_by_the_lease_alone(door: Door, order: LaunchOrder) -> None:
    for lease in ("wrong", "", order.lease_token + "x"):
        _check(door.say(order, lease=lease), 409)
    missing = door.post(
        f"/jobs/{order.job_id}/attempts/1/report", {"phase": "training", "step": 1, "log_bytes": 0}
    )
    _check(missing, 422)
    for _ in range(2):
        assert Reply.model_validate(door.say(order).json()).want == "continue"
    for _ in range(2):
        assert Reply.model_validate(door.say(order, "finish").json()).want == "stop"
    _check(door.say(order), 409)
    assert read_job(order.job_id).status == "succeeded"
    with transaction() as session:
        assert len(session.scalars(select(LedgerEntry)).all()) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"step": -1}, {"step": 1.5}, {"step": 10**12}, {"step": None}, {"phase": "resting"}, {"eta_seconds": -1},
        {"log_bytes": 10**30}, {"surprise": 1}, {"points": [{"step": 1}]}, {"points": [{"step": 1, "at": "noon"}]},
        {"points": [{"step": 10**10, "at": "2026-01-01T00:00:00Z"}]}, {"points": "x"},
        {"points": [{"step": 1, "at": "9999-12-31T23:59:59-14:00", "loss": 1.0}]},
        {"tracking_mode": "telepathy"}, {"tracking_url": "x" * 1001}, {"devices": [{}]}, {"peak_memory_bytes": "much"},
    ],
)  # fmt: skip
def test_a_broken_report_is_refused_and_changes_nothing(door: Door, order: LaunchOrder, values: Json) -> None:
    _check(door.say(order, **values), 422)
    _check(door.say(order, "finish", **values), 422)
    job = read_job(order.job_id)
    assert (job.status, job.step, job.phase) == ("running", 0, "preparing")
    assert door.say(order, "finish").status_code == 200


@pytest.mark.parametrize(
    "text",
    ['{"loss": NaN}', '{"loss": Infinity}', '{"x": ' + "[" * 700 + "]" * 700 + "}", '{"x": ' + "9" * 4000 + "}",
     '{"x": "\\u0000"}', '{"x": "\\ud800"}'],
)  # fmt: skip
def test_results_that_cannot_be_kept_are_refused(door: Door, order: LaunchOrder, text: str) -> None:
    body = (
        '{"phase": "finished", "step": 1, "log_bytes": 0, "end_reason": "completed", "run_seconds": 1, "results": '
        f"{text}}}"
    )
    headers = door.headers | {"X-Lease-Token": order.lease_token, "Content-Type": "application/json"}
    path = f"/internal/v1/jobs/{order.job_id}/attempts/1/finish"
    _check(door.client.post(path, content=body.encode(), headers=headers), 422)
    assert read_job(order.job_id).status == "running"


def test_a_log_may_speak_of_odd_characters(door: Door, order: LaunchOrder) -> None:
    """The excerpt of a log holds what the run wrote, such as JSON with escapes in it."""
    excerpt = 'saw "\\u0000" and "\\ud800" 🚗'
    answer = door.say(order, "finish", end_reason="crashed", log_excerpt=excerpt)
    assert answer.status_code == 200
    error = read_job(order.job_id).error
    assert error is not None
    assert error["log_excerpt"] == excerpt


def test_a_closed_registration_of_people_does_not_keep_nodes_out(
    door: Door, configure: Callable[[str, str], None]
) -> None:
    configure("TUNEFORGE_REGISTRATION", "closed")
    assert door.register().status_code == 200


def test_draining_by_the_administrator_keeps_jobs_away(door: Door, administrator: Person) -> None:
    door.register()
    assert (
        administrator.request("PATCH", "/admin/nodes/gpu-1", json={"status": "draining"}).json()["status"]
        == "draining"
    )
    submit_job(make_user("ann"))
    assert assign_jobs() == 0
    assert (
        administrator.request("PATCH", "/admin/nodes/gpu-1", json={"status": "online"}).json()["status"]
        == "online"
    )
    assert assign_jobs() == 1
    node = administrator.get("/admin/nodes").json()["data"][0]
    assert [device["busy"] for device in node["devices"]] == [True, False]
    for body in ({"status": "lost"}, {"status": None}, {}, {"status": "online", "name": "x"}):
        assert administrator.request("PATCH", "/admin/nodes/gpu-1", json=body).status_code == 422
    assert administrator.request("PATCH", "/admin/nodes/nosuch", json={"status": "online"}).status_code == 404


# -- a token for each node ---------------------------------------------------------------------------------


def _issue(administrator: Person, node: str) -> str:
    answer = administrator.request("PUT", f"/admin/node-tokens/{node}")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def test_an_issued_token_lets_its_own_node_in_and_no_other(administrator: Person) -> None:
    own = Door(administrator.client, _issue(administrator, "gpu-1"))
    assert own.register().status_code == 200
    job_id = submit_job(make_user("ann"))
    assign_jobs()
    _check(own.register(name="gpu-2"), 403)
    _check(own.post("/nodes/heartbeat", {"name": "gpu-2", "devices": []}), 403)
    other = Door(administrator.client, _issue(administrator, "gpu-2"))
    _check(other.claim(job_id, node="gpu-1"), 403)
    assert own.claim(job_id).status_code == 200


def test_issuing_again_ends_the_old_token_and_revoking_ends_all(administrator: Person) -> None:
    old = Door(administrator.client, _issue(administrator, "gpu-1"))
    assert old.register().status_code == 200
    new = Door(administrator.client, _issue(administrator, "gpu-1"))
    _check(old.register(), 401)
    assert new.register().status_code == 200
    [listed] = administrator.get("/admin/node-tokens").json()["data"]
    assert listed["node"] == "gpu-1"
    assert "token" not in listed
    assert listed["last_used_at"] is not None
    assert administrator.request("DELETE", "/admin/node-tokens/gpu-1").status_code == 204
    _check(new.register(), 401)
    assert administrator.request("DELETE", "/admin/node-tokens/gpu-1").status_code == 404


def test_only_administrators_issue_tokens_and_odd_names_are_refused(
    administrator: Person, owner: Person
) -> None:
    assert owner.request("PUT", "/admin/node-tokens/gpu-1").status_code == 403
    assert owner.get("/admin/node-tokens").status_code == 403
    for name in ("UPPER", "-x", "x" * 64, "%2e%2e", "a b"):
        assert administrator.request("PUT", f"/admin/node-tokens/{name}").status_code in (404, 422), name


def test_an_issued_token_is_stored_as_a_hash(administrator: Person) -> None:
    text = _issue(administrator, "gpu-1")
    with transaction() as session:
        [row] = session.scalars(select(NodeToken)).all()
        assert text not in (row.token_hash, row.prefix)
