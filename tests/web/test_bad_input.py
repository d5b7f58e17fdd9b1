"""Whatever is sent, the answer says what is wrong with it: 4xx as the contract says, never 500."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from backend.database import transaction
from backend.services import catalogue
from backend.tables.job import Job
from backend.web.security import MAX_BODY_BYTES, MAX_QUERY_BYTES, MAX_REPORT_BYTES
from tests.factories import Person, make_dataset, make_model, register_node, submit_job
from tests.web.test_jobs import TRAIN

JSON_TYPE = {"Content-Type": "application/json"}


@pytest.fixture
def platform(tuneforge_home: Path, database: None) -> None:
    """A model, a dataset and a node, so that nothing but the body can be wrong."""
    make_model(tuneforge_home)
    make_dataset(tuneforge_home)
    register_node()
    with transaction() as session:
        catalogue.discover(session)


def _check(answer: httpx.Response, *statuses: int) -> None:
    assert answer.status_code in statuses, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["code"]
    assert body["detail"]


def _post(
    person: Person, path: str, content: bytes, content_type: str = "application/json"
) -> httpx.Response:
    return person.post(path, content=content, headers={"Content-Type": content_type})


# -- bodies that are no JSON -------------------------------------------------------------------------------

MALFORMED = [
    b"{", b"", b"nul", b"{'kind': 'train'}", b'{"kind": "train"', b"\xff\xfe{}", b'{"kind": "\xc3\x28"}', b"[" * 100_000,
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b'{"kind": "train", "x": ' + b"9" * 5000 + b"}", b"\xef\xbb\xbf{}",
]  # fmt: skip


@pytest.mark.parametrize("content", MALFORMED, ids=range(len(MALFORMED)))
@pytest.mark.parametrize("path", ["/jobs", "/estimates", "/tokens"])
def test_what_is_no_json_is_said_to_be_none(owner: Person, path: str, content: bytes) -> None:
    _check(_post(owner, path, content), 400, 422)


@pytest.mark.parametrize("content", [b"[]", b"null", b"5", b'"train"', b"true", b"NaN", b"[{}]"])
def test_json_that_is_no_object_is_refused(owner: Person, content: bytes) -> None:
    _check(_post(owner, "/jobs", content), 422)
    _check(owner.request("PATCH", f"/jobs/{submit_job(owner.id)}", content=content, headers=JSON_TYPE), 422)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "",
    ],
)
def test_a_body_of_another_type_is_refused(owner: Person, content_type: str) -> None:
    _check(_post(owner, "/jobs", json.dumps(TRAIN).encode(), content_type), 415, 422)


# -- sizes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [True, False])
def test_an_oversized_body_is_refused_unread(web_client: TestClient, declared: bool) -> None:
    content: Any = b"x" * (MAX_BODY_BYTES + 1)
    if not declared:
        content = iter([content[:1000], content[1000:]])
    _check(web_client.post("/api/v1/jobs", content=content), 413)


def test_a_body_just_within_the_limit_is_read(owner: Person) -> None:
    content = json.dumps({"username": "x" * (MAX_BODY_BYTES - 20)}).encode()
    assert len(content) <= MAX_BODY_BYTES
    _check(owner.client.post("/api/v1/users", content=content, headers=JSON_TYPE), 422)


def test_reports_may_be_larger_but_not_without_end(web_client: TestClient) -> None:
    path = "/internal/v1/nodes/heartbeat"
    assert web_client.post(path, content=b"x" * (MAX_BODY_BYTES + 1)).status_code == 401
    _check(web_client.post(path, content=b"x" * (MAX_REPORT_BYTES + 1)), 413)


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30])
def test_a_length_that_is_none_is_refused(web_client: TestClient, length: str) -> None:
    _check(web_client.post("/api/v1/jobs", content=b"{}", headers={"Content-Length": length}), 413)


def test_an_address_without_end_is_refused(owner: Person) -> None:
    _check(owner.get("/jobs?q=" + "x" * (MAX_QUERY_BYTES + 1)), 414)


# -- odd characters and numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["name", "model", "datasets", "args", "key", "tier", "unknown"])
@pytest.mark.parametrize("text", ["a\\u0000b", "\\ud800", "\\udc00\\ud800", "\\uffff"])
def test_characters_that_cannot_be_kept_are_refused(
    platform: None, owner: Person, place: str, text: str
) -> None:
    known = '"kind": "train", "model": "tiny", "datasets": ["talks"]'
    bodies = {
        "name": f'{{{known}, "name": "{text}"}}',
        "model": f'{{"kind": "train", "model": "{text}", "datasets": ["talks"]}}',
        "datasets": f'{{"kind": "train", "model": "tiny", "datasets": ["{text}"]}}',
        "args": f'{{{known}, "args": {{"deepspeed": "{text}"}}}}',
        "key": f'{{{known}, "args": {{"{text}": 1}}}}',
        "tier": f'{{{known}, "tier": "{text}"}}',
        "unknown": f'{{{known}, "{text}": 1}}',
    }
    for headers in ({}, {"Idempotency-Key": "k"}):
        answer = owner.post("/jobs", content=bodies[place].encode(), headers=JSON_TYPE | headers)
        if (place, text) == ("name", "\\uffff"):
            assert answer.status_code == 201
        else:
            _check(answer, 422)


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" + "0" * 300, "-" + "9" * 4000, "1e-400"]
)
@pytest.mark.parametrize("name", ["learning_rate", "cutoff_len", "num_train_epochs", "seed", "nosuch"])
def test_numbers_that_are_none_are_refused(platform: None, owner: Person, name: str, value: str) -> None:
    body = f'{{"kind": "train", "model": "tiny", "datasets": ["talks"], "args": {{"{name}": {value}}}}}'
    for path in ("/jobs", "/estimates"):
        _check(_post(owner, path, body.encode()), 400, 422)
    with transaction() as session:
        assert session.scalars(select(Job.id)).all() == []


@pytest.mark.parametrize("depth", [20, 500, 900, 950, 5000])
def test_nesting_without_end_is_refused(platform: None, owner: Person, depth: int) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        nested = opening * depth + "1" + closing * depth
        for name in ("learning_rate", "lora_target", "nosuch", "model_kwargs"):
            body = (
                f'{{"kind": "train", "model": "tiny", "datasets": ["talks"], "args": {{"{name}": {nested}}}}}'
            )
            _check(_post(owner, "/jobs", body.encode()), 400, 422)
        _check(_post(owner, "/jobs", f'{{"kind": "train", "x": {nested}}}'.encode()), 400, 422)


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/a%00b",
        "/jobs?q=%00",
        "/jobs?q=%2500%00",
        "/models/%00",
        "/datasets/x/media/%00.png",
        "/compare?jobs=%00",
    ],
)
def test_nul_in_an_address_is_refused(owner: Person, path: str) -> None:
    _check(owner.get(path), 422)


@pytest.mark.parametrize(
    "path",
    ["/jobs/%ff%fe", "/jobs?q=%ff", "/models/%ed%a0%80", "/jobs/" + "x" * 1000, "/models/..", "/models/%2e%2e%2f",
     "/jobs?after=%ff", "/nosuch", "/jobs/ABCDEFGH", "/jobs/" + "a" * 20 + "/nosuch", "/datasets/%F0%9F%9A%97/rows"],
)  # fmt: skip
def test_odd_addresses_lead_nowhere(owner: Person, path: str) -> None:
    answer = owner.get(path)
    assert answer.status_code < 500
    if answer.status_code >= 400:
        _check(answer, 404, 422)


def test_methods_that_a_route_has_not_are_refused(owner: Person) -> None:
    for method, path in (
        ("PUT", "/jobs"),
        ("DELETE", "/me"),
        ("POST", "/model-catalogue"),
        ("TRACE", "/jobs"),
        ("X" * 50, "/jobs"),
    ):
        _check(owner.request(method, path), 405)


@pytest.mark.parametrize("value", ["\xff", "k" * 10_000, "\t"])
def test_odd_headers_are_no_fault(platform: None, owner: Person, value: str) -> None:
    headers: Any = {
        name: value.encode("latin-1")
        for name in ("Idempotency-Key", "Last-Event-ID", "Accept", "X-CSRF-Token")
    }
    answer = owner.client.post("/api/v1/jobs", json=TRAIN, headers=owner.headers | headers)
    assert answer.status_code in (201, 422)
    headers = {"Range": value.encode("latin-1"), "Cookie": b"tuneforge_session=" + value.encode("latin-1")}
    assert owner.client.get("/api/v1/me", headers=headers).status_code in (401, 422)


@pytest.mark.parametrize("body", [{"username": 5, "password": []}, {"username": "\u0001x", "password": "y" * 20},
                                  {"username": {"$ne": None}, "password": {"$ne": None}, "name": "x"}])  # fmt: skip
def test_odd_accounts_are_refused(web_client: TestClient, body: dict[str, Any]) -> None:
    _check(web_client.post("/api/v1/users", json=body), 422)
    _check(web_client.post("/api/v1/tokens", json=body), 422)


def test_every_answer_carries_the_headers_that_browsers_obey(web_client: TestClient) -> None:
    for path in ("/healthz", "/api/v1/jobs", "/nosuch", "/api/v1/openapi.json"):
        headers = web_client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"


def test_an_escaped_backslash_begins_no_odd_character(platform: None, owner: Person) -> None:
    for text in ("\\u0000", "\\ud800", "🚗", "\ud7a3"):
        for ascii_only in (True, False):
            body = json.dumps(TRAIN | {"name": text}, ensure_ascii=ascii_only)
            assert _post(owner, "/jobs", body.encode()).json()["name"] == text
    # Halves of characters also come as bytes, which Python's reader would take.
    halved = json.dumps(TRAIN | {"name": "@"}).encode().replace(b"@", b"\xed\xa0\x80")
    _check(_post(owner, "/jobs", halved), 422)
