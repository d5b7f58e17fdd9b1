"""What was used: by whom, when, on what and how it was paid, with what runs now and what was deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from backend.database import transaction
from backend.tables.job import Job
from backend.tables.ledger import LedgerEntry
from tests.factories import (
    Person,
    assign_jobs,
    build_devices,
    claim_job,
    finish_job,
    register_node,
    start_job,
    submit_job,
)

CNY = "CNY"


def _list(administrator: Person, **query: Any) -> list[dict[str, Any]]:
    answer = administrator.get("/admin/usage", params=query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


def _date_charges(job_id: str, moment: datetime) -> None:
    with transaction() as session:
        session.execute(update(LedgerEntry).where(LedgerEntry.job_id == job_id).values(created_at=moment))


@pytest.fixture
def used(owner: Person, colleague: Person) -> str:
    """Two attempts of one job of the owner's, one attempt of a colleague's; returns the owner's job."""
    register_node("node-1", build_devices(4))
    first = start_job(owner.id)
    finish_job(first, "node_stopped", run_seconds=3600.0)
    assign_jobs()
    finish_job(claim_job(first.job_id), run_seconds=1800.0)
    finish_job(start_job(colleague.id, tier="spot", gpu_count=2), run_seconds=360.0)
    return first.job_id


def test_usage_by_user_counts_jobs_attempts_time_and_money(
    used: str, owner: Person, colleague: Person, administrator: Person
) -> None:
    nothing = {"device_seconds": 0.0, "cost": {"currency": CNY, "amount": "0.0000"}, "jobs": 0, "attempts": 0}
    assert _list(administrator) == [
        {
            "id": owner.id, "name": "owner", "device_seconds": 5400.0,
            "cost": {"currency": CNY, "amount": "0.4500"}, "jobs": 1, "attempts": 2, "running": nothing,
        },
        {
            "id": colleague.id, "name": "colleague", "device_seconds": 720.0,
            "cost": {"currency": CNY, "amount": "0.0150"}, "jobs": 1, "attempts": 1, "running": nothing,
        },
    ]  # fmt: skip


def test_usage_by_tier_kind_and_day(used: str, administrator: Person) -> None:
    assert [(row["id"], row["attempts"]) for row in _list(administrator, group_by="tier")] == [
        ("express", 2),
        ("spot", 1),
    ]
    assert [(row["id"], row["name"], row["jobs"]) for row in _list(administrator, group_by="gpu_kind")] == [
        ("cpu", "CPU", 2)
    ]
    # Half past eleven at night in UTC is the next day further east; days here are days in UTC.
    _date_charges(used, datetime(2026, 3, 1, 23, 30, tzinfo=UTC))
    days = _list(administrator, group_by="day")
    assert [row["id"] for row in days][-1] == "2026-03-01"
    assert days[0]["id"] > days[1]["id"]
    assert [row["device_seconds"] for row in days] == [720.0, 5400.0]


def test_a_span_is_half_open(used: str, administrator: Person) -> None:
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    _date_charges(used, moment)
    second = timedelta(seconds=1)

    def count(after: datetime, before: datetime) -> int:
        span = {"created_after": after.isoformat(), "created_before": before.isoformat()}
        return sum(int(row["attempts"]) for row in _list(administrator, **span))

    assert count(moment, moment + second) == 2
    assert count(moment - second, moment) == 0
    assert count(moment + second, moment) == 0


def test_a_deleted_job_stays_counted_as_the_one_job_it_was(
    used: str, owner: Person, administrator: Person
) -> None:
    before = _list(administrator)
    assert owner.request("DELETE", f"/jobs/{used}").status_code == 204
    assert _list(administrator) == before


def test_what_runs_counts_with_what_it_has_used_so_far_and_is_marked(
    used: str, owner: Person, administrator: Person
) -> None:
    order = start_job(owner.id, gpu_count=2)
    with transaction() as session:
        started = datetime.now(UTC) - timedelta(hours=1)
        session.execute(update(Job).where(Job.id == order.job_id).values(attempt_started_at=started))
    [mine] = [row for row in _list(administrator) if row["id"] == owner.id]
    assert (mine["jobs"], mine["attempts"]) == (2, 3)
    running = mine["running"]
    assert (running["jobs"], running["attempts"]) == (1, 1)
    assert 7200 <= running["device_seconds"] < 7200 + 600
    assert mine["device_seconds"] == pytest.approx(5400 + running["device_seconds"])
    assert 0.6 <= float(running["cost"]["amount"]) < 0.7
    today = _list(administrator, group_by="day")[0]
    assert today["running"]["attempts"] == 1
    past = _list(administrator, created_before=(datetime.now(UTC) - timedelta(minutes=1)).isoformat())
    assert past == []
    finish_job(order, run_seconds=3600.0)
    assert all(row["running"]["attempts"] == 0 for row in _list(administrator))


def test_a_second_attempt_that_runs_is_the_same_job(owner: Person, administrator: Person) -> None:
    register_node()
    order = start_job(owner.id)
    finish_job(order, "node_stopped")
    assign_jobs()
    claim_job(order.job_id)
    [mine] = _list(administrator)
    assert (mine["jobs"], mine["attempts"], mine["running"]["attempts"]) == (1, 2, 1)


def test_a_job_that_waits_has_used_nothing(owner: Person, administrator: Person) -> None:
    submit_job(owner.id)
    assert _list(administrator) == []


def test_charges_in_another_currency_are_not_added_up(used: str, administrator: Person) -> None:
    with transaction() as session:
        session.execute(update(LedgerEntry).where(LedgerEntry.job_id == used).values(currency="USD"))
    assert [row["name"] for row in _list(administrator)] == ["colleague"]


def test_usage_comes_in_pages(used: str, administrator: Person) -> None:
    first = administrator.get("/admin/usage", params={"limit": 1}).json()
    assert (first["has_more"], first["group_by"]) == (True, "user")
    last = administrator.get("/admin/usage", params={"limit": 1, "after": first["next"]}).json()
    assert (last["has_more"], last["next"]) == (False, None)
    assert [row["name"] for page in (first, last) for row in page["data"]] == ["owner", "colleague"]


@pytest.mark.parametrize(
    "query",
    [
        "group_by=node",
        "group_by=",
        "created_after=yesterday",
        "created_after=2026-01-01T00:00:00",
        "limit=0",
        "user=x",
    ],
)
def test_odd_questions_are_refused(administrator: Person, query: str) -> None:
    assert administrator.get(f"/admin/usage?{query}").status_code == 422


def test_others_see_nothing_of_it(owner: Person) -> None:
    assert owner.get("/admin/usage").status_code == 403
    assert owner.client.get("/api/v1/admin/usage").status_code == 401
