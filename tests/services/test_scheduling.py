"""The scheduler on real tables: what it is told, what is done of its plan, and what people are told of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from backend.database import transaction
from backend.domain.errors import Conflict
from backend.domain.protocol import Report, Want
from backend.domain.scheduling.fair_share import HALF_LIFE_SECONDS, sum_decayed
from backend.domain.scheduling.values import Account
from backend.services import jobs, nodes, reports, scheduling
from backend.services.scheduling import Prospect
from backend.tables.base import utc_now
from backend.tables.job import Job
from backend.tables.ledger import LedgerEntry
from backend.tables.node import Node
from backend.tables.user import User
from tests.factories import (
    assign_jobs,
    build_devices,
    claim_job,
    finish_job,
    make_user,
    read_job,
    register_node,
    start_job,
    submit_job,
)

pytestmark = pytest.mark.usefixtures("database")


def _report(order_id: str, attempt: int, lease: str, **values: float) -> Want:
    message = Report.model_validate({"phase": "training", "step": 1, "log_bytes": 0} | values)
    with transaction() as session:
        return reports.report(session, order_id, attempt, lease, message).want


def _find(job_id: str) -> Prospect:
    with transaction() as session:
        prospect = scheduling.find_prospect(session, session.get_one(Job, job_id))
    assert prospect is not None
    return prospect


# -- preemption --------------------------------------------------------------------------------------------


def test_a_spot_job_makes_room_for_an_express_job_and_comes_back_to_its_place() -> None:
    register_node()
    spot = start_job(make_user("ann"), tier="spot")
    _report(spot.job_id, 1, spot.lease_token, eta_seconds=3000)
    express = submit_job(make_user("bob"), tier="express")
    assert assign_jobs() == 0
    asked_at = read_job(spot.job_id).preempt_requested_at
    assert asked_at is not None
    # Asked once: the next decisions wait for it.
    assert assign_jobs() == 0
    assert read_job(spot.job_id).preempt_requested_at == asked_at
    assert _report(spot.job_id, 1, spot.lease_token) is Want.PREEMPT
    queued_at = read_job(spot.job_id).queued_at
    finish_job(spot, "preempted", checkpoint_step=4, step=4)
    job = read_job(spot.job_id)
    assert (job.status, job.attempt, job.faults, job.preempt_requested_at) == ("queued", 2, 0, None)
    assert job.queued_at == queued_at
    assert assign_jobs() == 1
    assert read_job(express).status == "assigned"
    finish_job(claim_job(express))
    assert assign_jobs() == 1
    again = claim_job(spot.job_id)
    assert (again.attempt, again.resume_from_attempt) == (2, 1)
    assert _report(spot.job_id, 2, again.lease_token) is Want.CONTINUE


def test_a_stop_outweighs_a_preemption() -> None:
    register_node()
    owner = make_user("ann")
    spot = start_job(owner, tier="spot")
    _report(spot.job_id, 1, spot.lease_token, eta_seconds=3000)
    submit_job(owner, tier="express")
    assign_jobs()
    with transaction() as session:
        jobs.stop(session, session.get_one(User, owner), spot.job_id)
    assert _report(spot.job_id, 1, spot.lease_token) is Want.STOP
    finish_job(spot, "preempted")
    assert read_job(spot.job_id).status == "cancelled"


def test_a_spot_job_that_nobody_has_begun_gives_way_at_once() -> None:
    register_node()
    owner = make_user("ann")
    spot = submit_job(owner, tier="spot", estimate={"duration_seconds": {"expected": 9000}})
    assert assign_jobs() == 1
    express = submit_job(owner, tier="express")
    assert assign_jobs() == 0
    job = read_job(spot)
    assert (job.status, job.attempt, job.devices) == ("queued", 2, [])
    with transaction() as session, pytest.raises(Conflict):
        reports.claim(session, spot, 1, "node-1")
    assert assign_jobs() == 1
    assert read_job(express).status == "assigned"


@pytest.mark.parametrize(
    ("running", "waiting"), [("flex", "express"), ("spot", "flex"), ("express", "express")]
)
def test_nobody_else_is_asked_to_make_room(running: str, waiting: str) -> None:
    register_node()
    owner = make_user("ann")
    order = start_job(owner, tier=running)
    submit_job(owner, tier=waiting)
    assert assign_jobs() == 0
    assert _report(order.job_id, 1, order.lease_token) is Want.CONTINUE


# -- shares and quotas -------------------------------------------------------------------------------------


def test_who_used_much_of_late_yields_even_after_deleting_the_job() -> None:
    register_node()
    ann, bob = make_user("ann"), make_user("bob")
    order = start_job(ann, tier="flex")
    finish_job(order, run_seconds=7200.0)
    with transaction() as session:
        jobs.delete(session, session.get_one(User, ann), order.job_id)
    first, second = submit_job(ann, tier="flex"), submit_job(bob, tier="flex")
    assert assign_jobs() == 1
    assert (read_job(first).status, read_job(second).status) == ("queued", "assigned")


def test_use_is_counted_from_charges_and_from_what_runs() -> None:
    register_node("node-1", build_devices(2))
    ann = make_user("ann")
    finish_job(start_job(ann, tier="flex", gpu_count=2), run_seconds=100.0)
    order = start_job(ann, tier="flex")
    now = utc_now()
    began = now - timedelta(seconds=500)
    with transaction() as session:
        ended = now - timedelta(seconds=HALF_LIFE_SECONDS)
        session.execute(update(LedgerEntry).values(created_at=ended))
        session.execute(update(Job).where(Job.id == order.job_id).values(attempt_started_at=began))
    with transaction() as session:
        used = scheduling.measure_recent_use(session, scheduling.list_running(session, now), now)
    expected = 100.0 + sum_decayed(1, 500.0)
    assert used == {Account(ann, "flex", "cpu"): pytest.approx(expected, rel=1e-3)}


def test_weights_and_quotas_of_the_administrator_hold(configure: Callable[[str, str], None]) -> None:
    register_node("node-1", build_devices(6))
    ann, bob = make_user("ann"), make_user("bob")
    with transaction() as session:
        session.get_one(User, bob).share_weight = 2.0
    mine = [submit_job(ann, tier="flex") for _ in range(6)]
    yours = [submit_job(bob, tier="flex") for _ in range(6)]
    assert assign_jobs() == 6
    assert sum(read_job(job).status == "assigned" for job in mine) == 2
    assert sum(read_job(job).status == "assigned" for job in yours) == 4
    configure("TUNEFORGE_QUOTA_SPOT", "1")
    register_node("node-2", build_devices(4, name="more"))
    spot = [submit_job(ann, tier="spot") for _ in range(2)]
    assert assign_jobs() == 4
    assert [read_job(job).status for job in spot] == ["queued", "queued"]
    for job in [*mine[2:], *yours[4:]]:
        with transaction() as session:
            jobs.stop(session, session.get_one(User, read_job(job).owner_id), job)
    assert assign_jobs() == 1
    assert _find(spot[1]).reason == "quota"
    assert "1 GPUs of the 1" in _find(spot[1]).sentence


# -- what people are told ----------------------------------------------------------------------------------


def test_a_waiting_job_says_its_place_why_it_waits_and_when_it_starts() -> None:
    register_node()
    owner = make_user("ann")
    order = start_job(owner, tier="flex")
    _report(order.job_id, 1, order.lease_token, eta_seconds=1800)
    next_up, after = submit_job(owner, tier="flex"), submit_job(owner, tier="spot")
    now = utc_now()
    first, second = _find(next_up), _find(after)
    assert (first.position, first.reason) == (1, "next_up")
    assert (second.position, second.reason) == (2, "next_up")
    assert first.expected_start_at is not None
    assert second.expected_start_at is not None
    assert 1790 < (first.expected_start_at - now).total_seconds() < 1870
    assert first.expected_start_at.second == 0
    # The one ahead is estimated at a minute, and flex jobs have lately taken all there is.
    assert second.expected_start_at >= first.expected_start_at + timedelta(seconds=60)
    assert "预留" in first.sentence_zh


def test_a_job_that_is_about_to_start_says_so() -> None:
    register_node()
    owner = make_user("ann")
    first, second = submit_job(owner), submit_job(owner)
    prospect = _find(first)
    assert (prospect.position, prospect.reason, prospect.expected_start_at) == (1, "starting", None)
    assert _find(second).position == 2
    assign_jobs()
    with transaction() as session:
        assert scheduling.find_prospect(session, session.get_one(Job, first)) is None
    assert _find(second).position == 1


def test_a_job_whose_nodes_are_away_is_told_that() -> None:
    register_node()
    job_id = submit_job(make_user("ann"))
    with transaction() as session:
        past = utc_now() - timedelta(seconds=nodes.LOST_AFTER_SECONDS + 1)
        session.execute(update(Node).values(seen_at=past))
    assert (_find(job_id).reason, _find(job_id).expected_start_at) == ("nodes_away", None)


def test_devices_in_trouble_are_not_given_and_that_is_said() -> None:
    devices = build_devices(2)
    troubled = [devices[0].model_copy(update={"trouble": "strangers' processes"}), devices[1]]
    register_node("node-1", troubled)
    owner = make_user("ann")
    small, large = submit_job(owner), submit_job(owner, gpu_count=2)
    assert assign_jobs() == 1
    assert read_job(small).devices == ["slot-1"]
    assert _find(large).reason == "devices_unusable"


def test_a_resumed_job_is_expected_to_take_what_is_left_of_it() -> None:
    job_id = submit_job(make_user("ann"))
    with transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(checkpoint_step=8, total_steps=10))
        (queued,) = scheduling.list_queued(session)
    assert queued.expected_seconds == pytest.approx(12.0)


# -- before submitting -------------------------------------------------------------------------------------


def test_each_tier_says_how_long_a_new_job_would_wait() -> None:
    register_node()
    owner = make_user("ann")
    with transaction() as session:
        free = scheduling.read_situation(session)
    order = start_job(owner, tier="spot")
    _report(order.job_id, 1, order.lease_token, eta_seconds=1800)
    submit_job(owner, tier="flex", estimate={"duration_seconds": {"expected": 600}})
    with transaction() as session:
        full = scheduling.read_situation(session)

    def ask(situation: scheduling.Situation, tier: str) -> float:
        return scheduling.estimate_queue_seconds(situation, owner, tier, "cpu", 1)

    assert [ask(free, tier) for tier in ("express", "flex", "spot")] == [0, 0, 0]
    # Express has the spot job make room; flex waits for it and for the flex job ahead; spot for those and more.
    assert ask(full, "express") == pytest.approx(60, abs=1)
    assert ask(full, "flex") == pytest.approx(2400, abs=5)
    assert ask(full, "spot") >= ask(full, "flex") - 5
    assert scheduling.estimate_queue_seconds(full, owner, "flex", "h200", 1) == 0
