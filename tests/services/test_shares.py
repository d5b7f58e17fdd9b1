"""A job over several nodes is one thing: gathered whole or given back, ended by any of its nodes, never doubled."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from backend.database import transaction
from backend.domain.errors import Conflict, NotFound, TooEarly
from backend.domain.protocol import (
    AttemptKey,
    FinalReport,
    Heartbeat,
    LaunchOrder,
    Registration,
    Reply,
    Report,
)
from backend.services import dispatch, jobs, nodes, reports, shares
from backend.tables.base import utc_now
from backend.tables.job import GpuSample, Job, JobShare
from backend.tables.pulse import Pulse
from backend.tables.user import User
from tests.factories import assign_jobs, build_devices, claim_job, make_user, read_job, submit_job

pytestmark = pytest.mark.usefixtures("database")

PATIENCE = 630  # fence_seconds and the margin


@pytest.fixture
def job_id() -> str:
    """A job assigned over `node-1` and `node-2`, which have one device each."""
    for name in ("node-1", "node-2"):
        message = Registration(
            protocol_version=2, name=name, devices=build_devices(1, name=name), address=f"{name}.lan"
        )
        with transaction() as session:
            nodes.register(session, message)
    submitted = submit_job(make_user("ann"), gpu_count=2, max_nodes=2)
    assert assign_jobs() == 1
    return submitted


def get_names(job_id: str) -> tuple[str, str]:
    """Return the names of the nodes of rank 0 and 1."""
    with transaction() as session:
        job = session.get_one(Job, job_id)
        (share,) = shares.list_present(session, job)
        return nodes.find_name(session, job.node_id) or "", nodes.find_name(session, share.node_id) or ""


def claim_further(job_id: str, *, node: str | None = None, supervisor: str = "1 boot") -> LaunchOrder:
    """Claim rank 1's part of the present attempt."""
    name = node or get_names(job_id)[1]
    with transaction() as session:
        attempt = session.get_one(Job, job_id).attempt
        return shares.claim(session, job_id, attempt, 1, name, supervisor)


def start(job_id: str) -> tuple[LaunchOrder, LaunchOrder]:
    """Claim both parts; return the orders by rank."""
    further = claim_further(job_id)
    return claim_job(job_id, get_names(job_id)[0]), further


def say(order: LaunchOrder, **values: Any) -> Reply:
    """Report as the supervisor that holds the order."""
    message = Report.model_validate({"phase": "training", "step": 1, "log_bytes": 0} | values)
    with transaction() as session:
        key, lease = (order.job_id, order.attempt), order.lease_token
        if order.node_rank:
            return reports.report_share(session, *key, order.node_rank, lease, message)
        return reports.report(session, *key, lease, message)


def end(order: LaunchOrder, reason: str, **values: Any) -> Reply:
    """Say the last word as the supervisor that holds the order."""
    said = {"phase": "training", "step": 1, "log_bytes": 0, "end_reason": reason, "run_seconds": 5.0}
    message = FinalReport.model_validate(said | values)
    with transaction() as session:
        key, lease = (order.job_id, order.attempt), order.lease_token
        if order.node_rank:
            return shares.finish(session, *key, order.node_rank, lease, message)
        return reports.finish(session, *key, lease, message)


def count_busy() -> int:
    """Return how many devices are held."""
    with transaction() as session:
        return sum(len(devices) for devices in nodes.list_busy_devices(session).values())


def reap() -> int:
    """Let the housekeeper look for what is lost, after long enough an uptime of ours."""
    now = utc_now()
    with transaction() as session:
        session.merge(Pulse(name="api", since=now - timedelta(seconds=PATIENCE + 600), renewed_at=now))
        return dispatch.reap(session)


def age(table: Any, **seconds_ago: float) -> None:
    """Set columns of all rows to so many seconds ago."""
    values = {name: utc_now() - timedelta(seconds=seconds) for name, seconds in seconds_ago.items()}
    with transaction() as session:
        session.execute(update(table).values(**values))


def test_both_nodes_hear_of_their_part(job_id: str) -> None:
    leader, further = get_names(job_id)
    assert {leader, further} == {"node-1", "node-2"}
    for name, rank in ((leader, 0), (further, 1)):
        with transaction() as session:
            told = nodes.beat(session, Heartbeat(name=name, devices=build_devices(1, name=name))).assigned
        assert told == [AttemptKey(job_id=job_id, attempt=1, node_rank=rank)]
    assert count_busy() == 2


def test_a_job_that_allows_one_node_is_never_spread(job_id: str) -> None:
    alone = submit_job(make_user("bob"), gpu_count=2)
    with transaction() as session:
        jobs.stop(session, session.get_one(User, read_job(job_id).owner_id), job_id)
    assert assign_jobs() == 0
    assert read_job(alone).status == "queued"


def test_rank_0_begins_when_all_others_are_there(job_id: str) -> None:
    leader, further_node = get_names(job_id)
    with pytest.raises(TooEarly):
        claim_job(job_id, leader)
    assert read_job(job_id).status == "assigned"
    further = claim_further(job_id)
    assert claim_further(job_id) == further, "who heard no answer asks again"
    with pytest.raises(Conflict):
        claim_further(job_id, supervisor="2 other")
    with pytest.raises(Conflict):
        claim_further(job_id, node=leader)
    order = claim_job(job_id, leader)
    assert (order.node_rank, order.node_count, len(order.devices)) == (0, 2, 1)
    assert (further.node_rank, further.node_count) == (1, 2)
    assert set(order.devices + further.devices) == {"node-1-0", "node-2-0"}
    assert further_node != leader


def test_the_others_hear_where_rank_0_gathers_once_it_does(job_id: str) -> None:
    further = claim_further(job_id)
    assert say(further).master_port is None
    order = claim_job(job_id, get_names(job_id)[0])
    assert say(further).master_port is None
    assert say(order, master_port=29_555).peers_running == 1
    told = say(further)
    assert (told.master_address, told.master_port) == (f"{get_names(job_id)[0]}.lan", 29_555)


def test_the_port_of_an_earlier_attempt_is_never_told(job_id: str) -> None:
    order, further = start(job_id)
    say(order, master_port=29_555)
    end(order, "preempted")
    end(further, "node_lost")
    assert assign_jobs() == 1
    again = claim_further(job_id)
    assert say(again).master_port is None
    claim_job(job_id, get_names(job_id)[0])
    assert say(again).master_port is None


def test_a_gang_that_is_half_claimed_is_given_back(job_id: str) -> None:
    further = claim_further(job_id)
    age(Job, assigned_at=dispatch.CLAIM_SECONDS + 1)
    assert reap() == 1
    job = read_job(job_id)
    assert (job.status, job.attempt, job.faults) == ("queued", 2, 0)
    assert count_busy() == 1, "what was claimed may be at work and is held until it says that it is not"
    assert assign_jobs() == 0
    assert say(further).want == "end"
    end(further, "node_lost")
    end(further, "node_lost")
    assert count_busy() == 0
    assert assign_jobs() == 1
    start(job_id)
    assert read_job(job_id).status == "running"


@pytest.mark.parametrize(
    ("first", "last", "reason", "status", "attempt"),
    [
        ("out_of_memory", "node_lost", "out_of_memory", "failed", 1),
        ("out_of_memory", "crashed", "out_of_memory", "failed", 1),
        ("crashed", "node_lost", "crashed", "failed", 1),
        ("node_lost", "out_of_memory", "out_of_memory", "failed", 1),
        ("node_lost", "crashed", "crashed", "failed", 1),
        ("node_lost", "node_lost", None, "queued", 2),
        ("node_stopped", "node_lost", None, "queued", 2),
        ("completed", "completed", "completed", "succeeded", 1),
    ],
)
def test_the_node_that_knows_says_why_all_ended(
    job_id: str, first: str, last: str, reason: str | None, status: str, attempt: int
) -> None:
    order, further = start(job_id)
    end(further, first, detail="the word of rank 1", log_excerpt="the log of rank 1")
    assert say(order).want == ("continue" if first == "completed" else "end")
    assert say(order).peers_running == 0
    end(order, last, detail="the word of rank 0", log_excerpt="the log of rank 0")
    job = read_job(job_id)
    assert (job.status, job.attempt, job.end_reason) == (status, attempt, reason)
    assert job.faults == int(first == last == "node_lost")
    if job.error is not None:
        rank = 1 if reason == first else 0
        assert f"the word of rank {rank}" in job.error["detail"]
        assert job.error["log_excerpt"] == f"the log of rank {rank}"
    assert count_busy() == 0


def test_a_further_node_that_is_silent_ends_the_whole(job_id: str) -> None:
    order, further = start(job_id)
    age(JobShare, lease_expires_at=PATIENCE - 5)
    assert reap() == 0
    age(JobShare, lease_expires_at=PATIENCE + 5)
    assert reap() == 1
    job = read_job(job_id)
    assert (job.status, job.attempt, job.faults) == ("queued", 2, 1)
    with pytest.raises(Conflict):
        say(order)
    assert count_busy() == 0, "a node that is silent for so long has ended its part"
    with pytest.raises(Conflict):
        say(further)
    assert assign_jobs() == 1


def test_rank_0_that_is_silent_ends_the_others(job_id: str) -> None:
    _, further = start(job_id)
    age(Job, lease_expires_at=PATIENCE + 5)
    assert reap() == 1
    assert (read_job(job_id).status, count_busy()) == ("queued", 1)
    assert say(further).want == "end"
    end(further, "node_lost")
    assert count_busy() == 0


def test_a_stop_goes_to_rank_0_which_ends_all_at_one_step(job_id: str) -> None:
    order, further = start(job_id)
    with transaction() as session:
        jobs.stop(session, session.get_one(User, read_job(job_id).owner_id), job_id)
    assert say(order).want == "stop"
    assert say(further).want == "continue"
    end(order, "user_cancelled")
    assert read_job(job_id).status == "cancelled"
    assert say(further).want == "end"


def test_every_nodes_devices_are_sampled(job_id: str) -> None:
    order, further = start(job_id)
    for each in (order, further):
        device = next(one for one in build_devices(1, name=each.devices[0].removesuffix("-0")))
        say(each, devices=[device.model_dump() | {"utilization": 50.0}])
    with transaction() as session:
        sampled = set(session.scalars(select(GpuSample.device)))
    assert sampled == {"node-1-0", "node-2-0"}


def test_of_a_deleted_job_nothing_is_left(job_id: str) -> None:
    order, further = start(job_id)
    end(order, "completed")
    with transaction() as session:
        jobs.delete(session, session.get_one(User, read_job(job_id).owner_id), job_id)
    with pytest.raises(NotFound):
        say(further)
    assert count_busy() == 0
