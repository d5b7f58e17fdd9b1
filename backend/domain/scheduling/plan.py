"""The decision of one moment: who starts where, who makes room for whom, and for whom room is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import inf
from typing import NamedTuple

from backend.domain.scheduling.cluster import Cluster, Gang, NodeTimeline, split_gang
from backend.domain.scheduling.fair_share import average_use, count_held, order_jobs
from backend.domain.scheduling.preemption import MAX_PREEMPTIONS, STOP_SECONDS, Candidate, Candidates
from backend.domain.scheduling.values import (
    TIERS,
    UNKNOWN_SECONDS,
    Account,
    Assignment,
    Node,
    NodeShare,
    Plan,
    Preemption,
    QueuedJob,
    Reservation,
    Rules,
    RunningJob,
)
from backend.domain.scheduling.waiting import Obstacle, WaitingLine

MAX_RESERVATIONS = 8
"""Of one GPU kind. More would protect more jobs and leave more GPUs idle for them; the first in line move up."""

OVERDUE_SECONDS = 12 * 3600.0
PASSING_SECONDS = 3600.0
"""A job that has waited for `OVERDUE_SECONDS` is no longer passed by jobs of its tier that come after it, unless they
take less than `PASSING_SECONDS` or end before it can start: so nodes become empty for a gang that needs them."""

MAX_KEPT = 64
"""Reservations of one GPU kind, with those on GPUs that are being vacated for express jobs right now."""

MIN_PART = 0.05
"""Of the GPUs that become free, at least this part is expected to be left by better tiers, whatever they used."""

MIN_SECONDS = 1.0
"""No job is taken to be shorter, so that what starts and what ends never fall together."""

OVERRUN = 0.25
"""A job past its expected end is expected to go on for this part of what it has run already."""


def plan_jobs(
    queued: Sequence[QueuedJob],
    running: Sequence[RunningJob],
    nodes: Sequence[Node],
    *,
    now: datetime,
    rules: Rules,
    recent_use: Mapping[Account, float] | None = None,
    with_waiting: bool = True,
) -> Plan:
    """Decide for all GPU kinds at once; the same values always give the same plan.

    `recent_use` is what accounts used of late, in decayed GPU-seconds (`fair_share.sum_decayed`), running jobs
    included. Without `with_waiting` nothing is said about the jobs that go on waiting, which is faster.
    """
    plan = Plan()
    held = count_held(running)
    in_tier: dict[tuple[str, str], int] = {}
    for account, count in held.items():
        in_tier[account.user, account.tier] = in_tier.get((account.user, account.tier), 0) + count
    by_kind: dict[str, list[QueuedJob]] = {}
    for job in queued:
        by_kind.setdefault(job.gpu_kind, []).append(job)
    for kind in sorted(by_kind):
        ordered = order_jobs(by_kind[kind], held, recent_use or {}, rules.weights)
        planner = _KindPlanner(kind, running, nodes, now, rules, in_tier, plan)
        planner.serve(ordered)
        if with_waiting:
            planner.describe_waiting(average_use(recent_use or {}, kind))
    return plan


def estimate_remaining_seconds(job: RunningJob, now: datetime) -> float:
    """Return how long a running job will hold its devices, also when it has outrun what was expected of it."""
    if job.is_stopping:
        return STOP_SECONDS
    elapsed = max(0.0, (now - job.started_at) / timedelta(seconds=1))
    if job.expected_end_at is None:
        return max(UNKNOWN_SECONDS, elapsed)
    remaining = (job.expected_end_at - now) / timedelta(seconds=1)
    return remaining if remaining > 0 else max(STOP_SECONDS, OVERRUN * elapsed)


class _Size(NamedTuple):
    """What is known about all jobs of one GPU count and spread: how they lie, or why they never can."""

    gang: Gang
    obstacle: Obstacle | None


class _KindPlanner:
    """Serves the queue of one GPU kind, best claim first, and writes what it decides into the plan."""

    def __init__(
        self,
        kind: str,
        running: Sequence[RunningJob],
        nodes: Sequence[Node],
        now: datetime,
        rules: Rules,
        in_tier: dict[tuple[str, str], int],
        plan: Plan,
    ) -> None:
        self._kind, self._nodes, self._rules, self._plan = kind, nodes, rules, plan
        self._in_tier = in_tier
        here = [job for job in running if job.gpu_kind == kind]
        self._cluster = Cluster(_build_timelines(kind, nodes, here))
        # When how many devices are given back, by job, reservations left out of account.
        self._releases: dict[str, tuple[float, int]] = {}
        self._candidates = Candidates(self._enter_running(here, now))
        self._largest = max((len(node.devices.get(kind, ())) for node in nodes), default=0)
        self._sizes: dict[tuple[int, int | None], _Size] = {}
        self._over_quota: set[tuple[str, str]] = set()
        # How long a gang could run if it started now, kept until something is taken.
        self._longest: dict[Gang, float] = {}
        self._cannot_preempt: set[Gang] = set()
        self._preempted = self._reserved = self._kept = 0
        # How long jobs of a tier may take that are behind an overdue one of it.
        self._may_pass: dict[str, float] = {}
        self._overdue_before = now - timedelta(seconds=OVERDUE_SECONDS)
        self._line = WaitingLine()

    def _enter_running(self, running: Sequence[RunningJob], now: datetime) -> Iterable[Candidate]:
        """Note on the nodes when running jobs give back their devices; return those that may be preempted."""
        for job in running:
            ends_in = estimate_remaining_seconds(job, now)
            shares = []
            for node_id, devices in job.shares:
                node = self._cluster.find_node(node_id)
                count = node.count_usable(devices) if node else 0
                if node and count:
                    node.changes.append((ends_in, -count))
                    shares.append((node_id, count))
            if shares:
                self._releases[job.id] = ends_in, sum(count for _, count in shares)
            if job.tier == "spot" and shares and ends_in > STOP_SECONDS:
                began_ago = (now - job.started_at) / timedelta(seconds=1)
                yield Candidate(job.id, began_ago, ends_in, tuple(shares))

    def serve(self, ordered: Iterable[QueuedJob]) -> None:
        """Start, reserve or pass over each job in turn."""
        for node in self._cluster.nodes:
            node.changes.sort()
        for job in ordered:
            size = self._sizes.get((job.gpu_count, job.max_nodes)) or self._study(
                job.gpu_count, job.max_nodes
            )
            obstacle = size.obstacle or (self._rules.quotas and self._find_quota_obstacle(job))
            if obstacle:
                self._line.add(job, obstacle)
                continue
            seconds = inf if job.expected_seconds is None else max(MIN_SECONDS, job.expected_seconds)
            longest = self._longest.get(size.gang)
            if longest is None:
                longest = self._longest[size.gang] = self._cluster.find_longest(size.gang)
            if seconds > longest:
                self._keep_waiting(job, size.gang, seconds)
            elif seconds > self._may_pass.get(job.tier, inf):
                self._line.add(job, reason="behind_overdue")
            else:
                self._assign(job, size.gang, seconds)

    # -- obstacles ---------------------------------------------------------------------------------------------

    def _study(self, gpu_count: int, max_nodes: int | None) -> _Size:
        if not self._largest:
            size = _Size(Gang(1, gpu_count), Obstacle("no_such_gpu", {}))
        else:
            gang = split_gang(gpu_count, self._largest)
            size = _Size(gang, self._find_obstacle(gang, max_nodes))
        self._sizes[gpu_count, max_nodes] = size
        return size

    def _find_obstacle(self, gang: Gang, max_nodes: int | None) -> Obstacle | None:
        most = self._rules.max_nodes if max_nodes is None else min(max_nodes, self._rules.max_nodes)
        if gang.nodes > most or self._count_fitting(gang, closed=True) < gang.nodes:
            return Obstacle("too_large", {"largest": self._largest})
        if sum(node.size >= gang.per_node for node in self._cluster.nodes) >= gang.nodes:
            return None
        if self._count_fitting(gang, closed=False) < gang.nodes:
            return Obstacle("nodes_away", {})
        return Obstacle("devices_unusable", {})

    def _count_fitting(self, gang: Gang, closed: bool) -> int:
        return sum(
            (closed or node.is_open) and len(node.devices.get(self._kind, ())) >= gang.per_node
            for node in self._nodes
        )

    def _find_quota_obstacle(self, job: QueuedJob) -> Obstacle | None:
        """A user over its quota is not passed by its own smaller jobs, or its large one would never start."""
        limit = self._rules.quotas.get(job.tier)
        if limit is None:
            return None
        if job.gpu_count > limit:
            return Obstacle("above_quota", {"limit": limit})
        account = job.user, job.tier
        used = self._in_tier.get(account, 0)
        if account in self._over_quota or used + job.gpu_count > limit:
            self._over_quota.add(account)
            return Obstacle("quota", {"limit": limit, "used": used})
        return None

    # -- decisions ---------------------------------------------------------------------------------------------

    def _assign(self, job: QueuedJob, gang: Gang, seconds: float) -> None:
        room = self._cluster.find_room(gang, seconds)
        seconds = seconds if seconds < inf else UNKNOWN_SECONDS
        shares = tuple(NodeShare(node.id, self._cluster.take(node, gang.per_node, seconds)) for node in room)
        self._plan.assignments.append(Assignment(job.id, shares))
        self._releases[job.id] = seconds, job.gpu_count
        self._note_use(job)

    def _note_use(self, job: QueuedJob) -> None:
        account = job.user, job.tier
        self._in_tier[account] = self._in_tier.get(account, 0) + job.gpu_count
        self._longest.clear()

    def _keep_waiting(self, job: QueuedJob, gang: Gang, seconds: float) -> None:
        """Keep room for a job that cannot start now, or let it wait in line."""
        may_reserve = self._reserved < MAX_RESERVATIONS and self._kept < MAX_KEPT
        may_preempt = job.tier == "express" and gang not in self._cannot_preempt and self._kept < MAX_KEPT
        if not (may_reserve or may_preempt):
            self._let_wait(job)
            return
        start, nodes = self._cluster.find_start(gang, seconds)
        if may_preempt and start > STOP_SECONDS:
            room = self._preempt(job, gang, seconds)
            start, nodes = (STOP_SECONDS, room) if room else (start, nodes)
        if not nodes or (start > STOP_SECONDS and not may_reserve):
            self._let_wait(job)
            return
        self._reserve(job, gang, nodes, start, seconds)
        self._let_wait(job, start)

    def _let_wait(self, job: QueuedJob, start: float | None = None) -> None:
        """Put a job into the line; `start` is when the room that is kept for it is ready."""
        self._line.add(job, starts_in=start)
        if job.queued_at < self._overdue_before:
            before = self._may_pass.get(job.tier, inf if start is not None else PASSING_SECONDS)
            self._may_pass[job.tier] = before if start is None else max(PASSING_SECONDS, min(start, before))

    def _preempt(self, job: QueuedJob, gang: Gang, seconds: float) -> list[NodeTimeline]:
        nodes, victims = self._candidates.find_victims(self._cluster, gang, seconds)
        if not nodes or self._preempted + len(victims) > MAX_PREEMPTIONS:
            self._cannot_preempt.add(gang)
            return []
        self._preempted += len(victims)
        for victim in victims:
            self._plan.preemptions.append(Preemption(victim.job_id, job.id))
            self._candidates.remove(victim)
            self._releases[victim.job_id] = STOP_SECONDS, self._releases[victim.job_id][1]
            for node_id, count in victim.shares:
                node = self._cluster.get_node(node_id)
                self._cluster.give_back_earlier(node, count, victim.ends_in, STOP_SECONDS)
        return nodes

    def _reserve(
        self, job: QueuedJob, gang: Gang, nodes: list[NodeTimeline], start: float, seconds: float
    ) -> None:
        for node in nodes:
            self._cluster.hold(node, gang.per_node, start, seconds if seconds < inf else UNKNOWN_SECONDS)
        names = tuple(node.id for node in nodes)
        self._plan.reservations.append(Reservation(job.id, start, names, gang.per_node))
        self._kept += 1
        self._reserved += start > STOP_SECONDS
        self._note_use(job)

    def describe_waiting(self, used: Mapping[str, float]) -> None:
        """Say of each job that waits why, and until when; `used` is what each tier held on average of late."""
        capacity = sum(node.size for node in self._cluster.nodes)
        free = capacity - sum(count for _, count in self._releases.values())
        parts, better = {}, 0.0
        for tier in TIERS:
            parts[tier] = max(MIN_PART, 1 - better / capacity) if capacity else 1.0
            better += used.get(tier, 0.0)
        self._line.describe(self._plan.waiting, [(0.0, free), *self._releases.values()], capacity, parts)


def _build_timelines(kind: str, nodes: Sequence[Node], running: Sequence[RunningJob]) -> list[NodeTimeline]:
    """Return the open nodes that have usable devices of the kind, with those that nobody holds."""
    busy: dict[str, set[str]] = {}
    for job in running:
        for node_id, devices in job.shares:
            busy.setdefault(node_id, set()).update(devices)
    timelines = []
    for node in sorted(nodes, key=lambda one: one.id):
        usable = [device for device in node.devices.get(kind, ()) if device not in node.unusable]
        if node.is_open and usable:
            taken = busy.get(node.id, set())
            free = [device for device in usable if device not in taken]
            timelines.append(NodeTimeline(node.id, usable, free))
    return timelines
