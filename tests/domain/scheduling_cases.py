"""Queues, clusters and running jobs for the tests of the scheduler: by hand and drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import strategies as st

from backend.domain.scheduling.plan import plan_jobs
from backend.domain.scheduling.values import Node, NodeShare, Plan, QueuedJob, Rules, RunningJob

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3600.0


def ago(seconds: float) -> datetime:
    """Return the moment `seconds` before now."""
    return NOW - timedelta(seconds=seconds)


def job(
    name: str,
    count: int = 1,
    *,
    tier: str = "flex",
    user: str = "ann",
    age: float = 0,
    seconds: float | None = HOUR,
    kind: str = "h200",
    max_nodes: int | None = None,
) -> QueuedJob:
    """Return a waiting job."""
    return QueuedJob(name, user, tier, kind, count, ago(age), seconds, max_nodes)


def node(
    name: str, count: int = 8, *, kind: str = "h200", is_open: bool = True, unusable: Sequence[int] = ()
) -> Node:
    """Return a node whose devices are called `<node>/<kind>/<number>`."""
    devices = [f"{name}/{kind}/{slot}" for slot in range(count)]
    return Node(name, {kind: devices}, is_open, frozenset(devices[slot] for slot in unusable))


def running(
    name: str,
    where: dict[str, Sequence[int]],
    *,
    tier: str = "flex",
    user: str = "bob",
    began: float = HOUR,
    left: float | None = HOUR,
    stopping: bool = False,
    kind: str = "h200",
) -> RunningJob:
    """Return a job that runs on the given device numbers of the given nodes, `left` seconds more."""
    shares = tuple(
        NodeShare(node_id, tuple(f"{node_id}/{kind}/{slot}" for slot in slots))
        for node_id, slots in where.items()
    )
    ends = None if left is None else NOW + timedelta(seconds=left)
    return RunningJob(name, user, tier, kind, shares, ago(began), ends, stopping)


def plan(
    queued: Sequence[QueuedJob],
    nodes: Sequence[Node],
    busy: Sequence[RunningJob] = (),
    rules: Rules | None = None,
    **more: object,
) -> Plan:
    """Plan at `NOW`, with no rules unless given."""
    return plan_jobs(queued, busy, nodes, now=NOW, rules=rules or Rules(), **more)  # type: ignore[arg-type]


def started(decided: Plan) -> dict[str, list[str]]:
    """Return on which nodes each job starts."""
    return {one.job_id: [share.node_id for share in one.shares] for one in decided.assignments}


class Case(NamedTuple):
    """A whole situation."""

    queued: list[QueuedJob]
    running: list[RunningJob]
    nodes: list[Node]
    rules: Rules

    def plan(self) -> Plan:
        """Plan it."""
        return plan(self.queued, self.nodes, self.running, self.rules)


_TIERS = st.sampled_from(["express", "flex", "spot"])
_USERS = st.sampled_from(["ann", "bob", "eve"])
_KINDS = st.sampled_from(["h200", "h200", "cpu"])
_SECONDS = st.one_of(st.none(), st.floats(0, 100 * HOUR))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a situation: nodes of several sizes and kinds, some closed, jobs of all tiers running and waiting."""
    nodes = []
    for number in range(draw(st.integers(1, 5))):
        kind = draw(_KINDS)
        size = draw(st.sampled_from([1, 2, 4, 8]))
        unusable = draw(st.lists(st.integers(0, size - 1), max_size=2)) if draw(st.booleans()) else []
        nodes.append(
            node(f"n{number}", size, kind=kind, is_open=draw(st.integers(0, 5)) > 0, unusable=unusable)
        )
    busy: list[RunningJob] = []
    for place in nodes:
        (kind, devices), start = next(iter(place.devices.items())), 0
        while start < len(devices):
            size = draw(st.integers(1, len(devices) - start))
            if draw(st.integers(0, 2)):
                slots = range(start, start + size)
                began, left = (
                    draw(st.floats(0, 50 * HOUR)),
                    draw(st.one_of(st.none(), st.floats(-HOUR, 20 * HOUR))),
                )
                busy.append(
                    running(
                        f"r{len(busy)}",
                        {place.id: slots},
                        tier=draw(_TIERS),
                        user=draw(_USERS),
                        began=began,
                        left=left,
                        stopping=draw(st.integers(0, 6)) == 0,
                        kind=kind,
                    )
                )
            start += size
    queued = [
        job(
            f"q{number}",
            draw(st.sampled_from([1, 1, 2, 3, 4, 8, 12, 16])),
            tier=draw(_TIERS),
            user=draw(_USERS),
            age=draw(st.integers(0, 60_000)),
            seconds=draw(_SECONDS),
            kind=draw(_KINDS),
            max_nodes=draw(st.sampled_from([None, None, 1, 2])),
        )
        for number in range(draw(st.integers(0, 14)))
    ]
    quotas = draw(st.dictionaries(_TIERS, st.integers(1, 12), max_size=2))
    weights = draw(st.dictionaries(_USERS, st.floats(0.5, 4), max_size=2))
    return Case(queued, busy, nodes, Rules(quotas, weights, max_nodes=draw(st.sampled_from([1, 4]))))
