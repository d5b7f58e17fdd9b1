"""Assigning and taking back: no device twice, rings after commit only, nothing for nodes that are away."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import redis
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from backend import queue
from backend.database import transaction
from backend.domain.errors import Conflict
from backend.domain.job import MAX_FAULTS
from backend.domain.protocol import AttemptKey, Heartbeat, Report
from backend.services import dispatch, jobs, nodes, reports, uptime
from backend.tables.base import utc_now
from backend.tables.job import Job
from backend.tables.ledger import LedgerEntry
from backend.tables.node import Node
from backend.tables.pulse import Pulse
from backend.tables.user import User
from tests.factories import (
    assign_jobs,
    build_devices,
    claim_job,
    make_user,
    read_job,
    register_node,
    start_job,
    submit_job,
)

pytestmark = pytest.mark.usefixtures("database")


def _list_rings(redis_url: str, name: str) -> list[list[object]]:
    """Return the arguments of the messages that lie in a queue."""
    with redis.from_url(redis_url) as client:
        messages = [json.loads(raw) for raw in client.lrange(name, 0, -1)]
    return [json.loads(base64.b64decode(message["body"]))[0] for message in reversed(messages)]


def _beat(name: str = "node-1", count: int = 1) -> list[AttemptKey]:
    with transaction() as session:
        return nodes.beat(session, Heartbeat(name=name, devices=build_devices(count, name=name))).assigned


# -- assigning ---------------------------------------------------------------------------------------------


def test_a_job_gets_devices_of_one_node_and_its_bell_is_rung(redis_url: str) -> None:
    node_id = register_node("node-1", build_devices(2))
    job_id = submit_job(make_user("ann"), gpu_count=2)
    assert _list_rings(redis_url, queue.HOUSEKEEPER_QUEUE) == [[]]
    assert assign_jobs() == 1
    job = read_job(job_id)
    assert (job.status, job.node_id, job.devices, job.phase) == (
        "assigned",
        node_id,
        ["slot-0", "slot-1"],
        "preparing",
    )
    assert _list_rings(redis_url, "node.node-1") == [[job_id, 1]]
    # Should the bell not be heard, the next heartbeat tells.
    assert _beat(count=2) == [AttemptKey(job_id=job_id, attempt=1)]


def test_what_is_rolled_back_rings_no_bell(redis_url: str) -> None:
    register_node()
    job_id = submit_job(make_user("ann"))
    with transaction() as session:
        assert dispatch.dispatch(session) == 1
        assert _list_rings(redis_url, "node.node-1") == []
        session.rollback()
    assert _list_rings(redis_url, "node.node-1") == []
    assert read_job(job_id).status == "queued"


def test_a_silent_redis_costs_a_ring_and_nothing_else(configure: Callable[[str, str], None]) -> None:
    register_node()
    owner = make_user("ann")
    configure("REDIS_URL", "redis://127.0.0.1:1/0")
    queue.get_celery.cache_clear()
    began = time.monotonic()
    try:
        job_id = submit_job(owner)
        assert assign_jobs() == 1
    finally:
        queue.get_celery.cache_clear()
    assert time.monotonic() - began < 3
    assert read_job(job_id).status == "assigned"
    assert [key.job_id for key in _beat()] == [job_id]


def test_many_dispatchers_at_once_give_every_device_once() -> None:
    register_node("node-1", build_devices(4, name="a"))
    register_node("node-2", build_devices(4, name="b"))
    owner = make_user("ann")
    for _ in range(12):
        submit_job(owner)
    start = threading.Barrier(6)

    def run(_: int) -> int:
        start.wait()
        return sum(assign_jobs() for _ in range(4))

    with ThreadPoolExecutor(6) as pool:
        assigned = sum(pool.map(run, range(6)))
    with transaction() as session:
        busy = nodes.list_busy_devices(session)
        given = session.scalars(select(Job.devices).where(Job.status == "assigned"))
        taken = [device for devices in given for device in devices]
    assert len(taken) == len(set(taken)) == 8
    assert sum(len(devices) for devices in busy.values()) == 8
    assert assigned == 8


def _get_chief(session: Session) -> User:
    return session.scalars(select(User).where(User.role == "administrator")).one()


def _drain(session: Session) -> None:
    nodes.set_draining(session, _get_chief(session), "node-1", True)


@pytest.mark.parametrize("away", ["lost", "draining"])
def test_nodes_that_are_away_get_nothing(away: str) -> None:
    make_user("chief", role="administrator")
    register_node()
    submit_job(make_user("ann"))
    with transaction() as session:
        if away == "draining":
            _drain(session)
        else:
            past = utc_now() - timedelta(seconds=nodes.LOST_AFTER_SECONDS + 1)
            session.execute(update(Node).values(seen_at=past))
    assert assign_jobs() == 0
    with transaction() as session:
        nodes.set_draining(session, _get_chief(session), "node-1", False)
    _beat()
    assert assign_jobs() == 1


def test_a_node_that_starts_again_while_draining_goes_on_draining() -> None:
    make_user("chief", role="administrator")
    register_node()
    with transaction() as session:
        _drain(session)
    register_node()
    submit_job(make_user("ann"))
    assert assign_jobs() == 0


def test_one_of_many_registrations_at_once_makes_the_node() -> None:
    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(lambda _: register_node(), range(6)))) == 1


def test_a_job_stopped_while_it_is_planned_is_not_assigned() -> None:
    register_node()
    owner = make_user("ann")
    job_id = submit_job(owner)
    with transaction() as planning:
        planning.get_one(Job, job_id)
        with transaction() as session:
            jobs.stop(session, session.get_one(User, owner), job_id)
        assert dispatch.dispatch(planning) == 0
    assert read_job(job_id).status == "cancelled"


# -- taking back -------------------------------------------------------------------------------------------


def _age(job_id: str, **columns: float) -> None:
    """Set columns of a job to so many seconds ago."""
    with transaction() as session:
        values = {name: utc_now() - timedelta(seconds=seconds) for name, seconds in columns.items()}
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def test_what_nobody_claims_is_queued_again_under_a_new_attempt() -> None:
    register_node()
    job_id = submit_job(make_user("ann"))
    queued_at = read_job(job_id).queued_at
    assign_jobs()
    _age(job_id, assigned_at=dispatch.CLAIM_SECONDS - 5)
    with transaction() as session:
        assert dispatch.reap(session) == 0
    _age(job_id, assigned_at=dispatch.CLAIM_SECONDS + 1)
    with transaction() as session:
        assert dispatch.reap(session) == 1
    job = read_job(job_id)
    assert (job.status, job.attempt, job.faults, job.node_id, job.devices) == ("queued", 2, 0, None, [])
    assert job.queued_at == queued_at
    with transaction() as session, pytest.raises(Conflict):
        reports.claim(session, job_id, 1, "node-1")
    assert assign_jobs() == 1
    assert claim_job(job_id).attempt == 2


PATIENCE = 630  # fence_seconds and the margin


def _answer_for(seconds: float, last_seconds_ago: float = 0.0) -> None:
    """Have the web process answered for so long without a gap, the last time so long ago."""
    now = utc_now()
    with transaction() as session:
        renewed_at = now - timedelta(seconds=last_seconds_ago)
        session.merge(Pulse(name="api", since=now - timedelta(seconds=seconds), renewed_at=renewed_at))


def _reap() -> int:
    with transaction() as session:
        return dispatch.reap(session)


def test_a_job_whose_node_is_silent_goes_elsewhere_once_that_node_has_ended_it() -> None:
    _answer_for(PATIENCE + 600)
    register_node()
    order = start_job(make_user("ann"))
    with transaction() as session:
        reports.report(session, order.job_id, 1, order.lease_token, _build_report(eta_seconds=77))
    _age(order.job_id, lease_expires_at=PATIENCE - 5)
    assert _reap() == 0
    _age(order.job_id, lease_expires_at=PATIENCE + 5, attempt_started_at=PATIENCE + 5 + 3600)
    assert _reap() == 1
    job = read_job(order.job_id)
    assert (job.status, job.attempt, job.faults, job.eta_seconds) == ("queued", 2, 1, None)
    # Charged until its lease ran out: an hour of one device, and no minute of our waiting.
    with transaction() as session:
        charge = session.scalars(select(LedgerEntry)).one()
    assert charge.device_seconds == pytest.approx(3600, abs=5)
    with transaction() as session, pytest.raises(Conflict):
        reports.report(session, order.job_id, 1, order.lease_token, _build_report())
    assert _reap() == 0


@pytest.mark.parametrize(
    ("answered", "last"),
    [(60, 0), (PATIENCE - 5, 0), (PATIENCE + 3600, uptime.GAP_SECONDS + 1)],
    ids=["just back", "not yet long enough", "away now"],
)
def test_after_an_outage_of_ours_nobody_is_given_up(answered: float, last: float) -> None:
    register_node()
    order = start_job(make_user("ann"))
    _age(order.job_id, lease_expires_at=7200)
    _answer_for(answered, last)
    assert _reap() == 0
    # The node has its say first.
    with transaction() as session:
        assert reports.report(session, order.job_id, 1, order.lease_token, _build_report()).want == "continue"
    _answer_for(PATIENCE + 1)
    assert _reap() == 0
    assert read_job(order.job_id).status == "running"


def test_a_gap_in_answering_begins_the_count_anew_and_a_short_one_does_not() -> None:
    now = utc_now()
    moments = [0, 5, 10, 10 + uptime.GAP_SECONDS - 1, 40]
    with transaction() as session:
        session.execute(text("LOCK TABLE pulses"))  # an application of this test process may note its own
        session.execute(delete(Pulse))
        for seconds in moments:
            uptime.note_alive(session, uptime.API, now + timedelta(seconds=seconds))
        assert uptime.measure_answering_seconds(session, now + timedelta(seconds=45)) == 45
        after = now + timedelta(seconds=45 + uptime.GAP_SECONDS)
        assert uptime.measure_answering_seconds(session, after) == 0
        uptime.note_alive(session, uptime.API, after)
        session.expire_all()
        assert uptime.measure_answering_seconds(session, after + timedelta(seconds=3)) == 3


def test_a_job_lost_too_often_fails_and_says_what_to_do() -> None:
    _answer_for(PATIENCE + 600)
    register_node()
    order = start_job(make_user("ann"))
    for _ in range(MAX_FAULTS):
        _age(order.job_id, lease_expires_at=PATIENCE + 5)
        assert _reap() == 1
        if read_job(order.job_id).status == "queued":
            assert assign_jobs() == 1
            claim_job(order.job_id)
    job = read_job(order.job_id)
    assert (job.status, job.end_reason, job.faults) == ("failed", "node_lost", MAX_FAULTS)
    assert job.error is not None
    assert "node-1" in job.error["detail"]
    assert job.error["hint"]
    assert job.error["hint_zh"]


def test_a_stopped_job_of_a_lost_node_is_cancelled() -> None:
    _answer_for(PATIENCE + 600)
    register_node()
    owner = make_user("ann")
    order = start_job(owner)
    with transaction() as session:
        jobs.stop(session, session.get_one(User, owner), order.job_id)
    _age(order.job_id, lease_expires_at=PATIENCE + 5)
    assert _reap() == 1
    job = read_job(order.job_id)
    assert (job.status, job.end_reason, job.error) == ("cancelled", "user_cancelled", None)


def _build_report(**values: float) -> Report:
    return Report.model_validate({"phase": "training", "step": 1, "log_bytes": 0} | values)
