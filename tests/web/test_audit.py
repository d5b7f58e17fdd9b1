"""The audit trail: what it says, what it never says, how it is searched, and how long it is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, insert, select, text

from backend.database import transaction
from backend.domain.audit import Action
from backend.services import audit, pruning, throttling, users
from backend.services.audit import AuditFilter
from backend.services.pages import PageWish
from backend.tables.audit import AuditEntry
from backend.tables.base import new_id, utc_now
from backend.tables.user import User
from tests.factories import PASSWORD, Person, register_node, submit_job


def _list(administrator: Person, **query: Any) -> list[dict[str, Any]]:
    answer = administrator.get("/admin/audit", params=query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


def test_an_entry_says_who_did_what_to_what_from_where(owner: Person, administrator: Person) -> None:
    job_id = submit_job(owner.id, name="before")
    owner.request("PATCH", f"/jobs/{job_id}", json={"name": "after"})
    entry = _list(administrator)[0]
    assert entry["at"].endswith("Z")
    assert {name: entry[name] for name in ("action", "actor", "target", "address", "detail")} == {
        "action": "job.renamed",
        "actor": {"id": owner.id, "username": "owner"},
        "target": {"id": job_id, "name": "after"},
        "address": "testclient",
        "detail": {"before": "before"},
    }


def test_what_fails_leaves_no_entry(owner: Person, colleague: Person, administrator: Person) -> None:
    job_id = submit_job(owner.id)
    before = _list(administrator)
    assert owner.request("DELETE", f"/jobs/{job_id}").status_code == 409
    assert colleague.request("PATCH", f"/jobs/{job_id}", json={"name": "mine"}).status_code == 404
    assert owner.post("/tokens", json={"name": "test"}).status_code == 409
    assert administrator.request("DELETE", "/admin/node-tokens/nosuch").status_code == 404
    assert administrator.request("PATCH", f"/admin/users/{administrator.id}", json={}).status_code == 200
    assert _list(administrator) == before


def test_failed_sign_ins_are_noted_but_never_what_was_typed(
    owner: Person, administrator: Person, web_client: TestClient
) -> None:
    secret = "my-password-in-the-wrong-field"
    for username in ("owner", secret):
        body = {"username": username, "password": "wrong password", "name": "x"}
        assert web_client.post("/api/v1/tokens", json=body).status_code == 401
    refused = administrator.get("/admin/audit", params={"action": "session.refused"})
    assert secret not in refused.text
    assert [entry["actor"] for entry in refused.json()["data"]] == [
        None,
        {"id": owner.id, "username": "owner"},
    ]
    assert {entry["address"] for entry in refused.json()["data"]} == {"testclient"}


def test_guessing_does_not_fill_the_trail(
    owner: Person, administrator: Person, web_client: TestClient
) -> None:
    body = {"username": "owner", "password": "wrong password", "name": "x"}
    statuses = [web_client.post("/api/v1/tokens", json=body).status_code for _ in range(8)]
    assert statuses == [401] * throttling.MAX_FAILURES_PER_ACCOUNT + [429] * 3
    assert len(_list(administrator, action="session.refused")) == throttling.MAX_FAILURES_PER_ACCOUNT


def test_no_secret_is_in_the_trail(owner: Person, administrator: Person) -> None:
    token = owner.post("/tokens", json={"name": "ci"}).json()["token"]
    node_token = administrator.request("PUT", "/admin/node-tokens/gpu-1").json()["token"]
    passwords = {"current_password": PASSWORD, "new_password": "another long password"}
    assert owner.post("/me/password", json=passwords).status_code == 204
    key = "fake-swanlab-key-0001"
    assert owner.request("PUT", "/me/swanlab", json={"api_key": key, "host": "http://127.0.0.1:1"}).is_success
    with transaction() as session:
        rows = session.execute(text("SELECT row_to_json(a)::text FROM audit_entries a")).scalars().all()
    trail = "\n".join(rows)
    assert "swanlab_key.set" in trail
    for secret in (token, node_token, key, *passwords.values(), users.hash_secret(token)):
        assert secret not in trail


def test_a_submission_sent_twice_is_noted_once(owner: Person, administrator: Person) -> None:
    for _ in range(2):
        answer = owner.post("/tokens", json={"name": "ci"}, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 201
    assert len(_list(administrator, user="owner", action="api_token.created")) == 2  # the fixture's, and this


def test_the_trail_is_searched_by_user_action_and_time(
    owner: Person, colleague: Person, administrator: Person
) -> None:
    register_node()
    theirs, mine = submit_job(colleague.id), submit_job(owner.id)
    assert {entry["actor"]["username"] for entry in _list(administrator, user=owner.id)} == {"owner"}
    assert _list(administrator, user="OWNER") == _list(administrator, user=owner.id)
    both = _list(administrator, action="job.submitted")
    assert [entry["target"]["id"] for entry in both] == [mine, theirs]
    [only] = _list(administrator, action="job.submitted", user="colleague")
    assert only["target"]["id"] == theirs
    assert _list(administrator, user="nobody") == []
    assert _list(administrator, created_after=(utc_now() + timedelta(hours=1)).isoformat()) == []
    assert _list(administrator, created_before=(utc_now() - timedelta(hours=1)).isoformat()) == []


def test_entries_outlive_the_account_with_its_name(owner: Person, administrator: Person) -> None:
    submit_job(owner.id)
    with transaction() as session:
        session.execute(delete(User).where(User.id == owner.id))
    for wanted in (owner.id, "owner"):
        [submitted] = _list(administrator, user=wanted, action="job.submitted")
        assert submitted["actor"] == {"id": owner.id, "username": "owner"}


def test_a_password_set_at_the_machine_is_noted_without_an_actor(
    owner: Person, administrator: Person
) -> None:
    with transaction() as session:
        users.reset_password(session, "owner", "a new long password")
    [entry] = _list(administrator, action="user.password_changed")
    assert (entry["actor"], entry["address"]) == (None, None)
    assert entry["target"] == {"id": owner.id, "name": "owner"}


def test_old_entries_are_pruned_after_the_time_set(administrator: Person, configure: Any) -> None:
    configure("TUNEFORGE_AUDIT_DAYS", "30")
    with transaction() as session:
        for days in (29, 31):
            entry = AuditEntry(
                action=Action.JOB_STOPPED.value,
                target_id=f"{days} days",
                created_at=utc_now() - timedelta(days=days),
            )
            session.add(entry)
        session.flush()
        pruning.prune(session)
        kept = session.scalars(select(AuditEntry.target_id).where(AuditEntry.action == "job.stopped"))
        assert kept.all() == ["29 days"]


def test_a_long_trail_is_read_by_its_indexes(administrator: Person, owner: Person) -> None:
    """Every page of 100,000 entries is found by an index: the plan is looked at, and no clock."""
    rows = [
        {
            "id": new_id(), "created_at": utc_now(), "action": "job.stopped" if number % 1000 else "node.drained",
            "actor_id": owner.id if number % 500 == 0 else administrator.id, "actor_name": "x", "detail": {},
        }
        for number in range(100_000)
    ]  # fmt: skip
    with transaction() as session:
        session.execute(insert(AuditEntry), rows)
        session.execute(text("ANALYZE audit_entries"))
        middle = sorted(str(row["id"]) for row in rows)[50_000]
        seen: list[str] = []
        for wanted in (AuditFilter(), AuditFilter(user="owner"), AuditFilter(action=Action.NODE_DRAINED)):
            page = audit.list_entries(session, wanted, PageWish(20, middle))
            assert (len(page.rows), page.has_more) == (20, True)
            query = audit.build_query(session, wanted).where(AuditEntry.id < middle)
            compiled = (
                query.order_by(AuditEntry.id.desc())
                .limit(21)
                .compile(session.get_bind(), compile_kwargs={"literal_binds": True})
            )
            plan = "\n".join(session.scalars(text(f"EXPLAIN {compiled}")))
            assert "Seq Scan" not in plan, plan
            seen.append(plan)
        assert any("ix_audit_entries_actor_id_id" in plan for plan in seen)
        session.execute(delete(AuditEntry))


@pytest.mark.parametrize(
    "query",
    [
        "action=nosuch.thing",
        "action=",
        "user=",
        "user=" + "x" * 65,
        "created_after=now",
        "limit=1000",
        "actor=x",
    ],
)
def test_odd_questions_are_refused(administrator: Person, query: str) -> None:
    assert administrator.get(f"/admin/audit?{query}").status_code == 422


def test_others_see_nothing_of_it(owner: Person) -> None:
    assert owner.get("/admin/audit").status_code == 403
    assert owner.client.get("/api/v1/admin/audit").status_code == 401
