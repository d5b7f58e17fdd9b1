"""What the scheduler is told of the tables, and what people are told of its plan."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Float, cast, extract, func, select
from sqlalchemy.orm import Session

from backend.domain.job import ACTIVE, JobStatus
from backend.domain.scheduling.fair_share import HALF_LIFE_SECONDS, sum_decayed
from backend.domain.scheduling.plan import plan_jobs
from backend.domain.scheduling.values import (
    Account,
    Node,
    NodeShare,
    Plan,
    QueuedJob,
    Rules,
    RunningJob,
    Waiting,
)
from backend.domain.scheduling.waiting import explain_waiting
from backend.services import nodes, shares
from backend.settings import get_settings
from backend.tables.base import utc_now
from backend.tables.job import Job
from backend.tables.ledger import LedgerEntry
from backend.tables.user import User

REMEMBERED_HALF_LIVES = 5
"""Use older than this counts for less than a thirtieth and is left out."""

FORESEEN_SECONDS = 90 * 86400.0
"""No start further away is told: nobody can mean it."""

SLOW_SECONDS = 0.05
"""A plan that took longer to make is told again for `REST` times as long, so that long queues stay cheap to watch."""
REST = 10


@dataclass(frozen=True)
class Situation:
    """All that the scheduler is told at one moment."""

    now: datetime
    queued: Sequence[QueuedJob]
    running: Sequence[RunningJob]
    nodes: Sequence[Node]
    rules: Rules
    recent_use: Mapping[Account, float]

    def plan(self, *more: QueuedJob, with_waiting: bool = True) -> Plan:
        """Return what is to be done now, were `more` jobs waiting too; nothing is changed."""
        return plan_jobs(
            [*self.queued, *more],
            self.running,
            self.nodes,
            now=self.now,
            rules=self.rules,
            recent_use=self.recent_use,
            with_waiting=with_waiting,
        )


def read_situation(session: Session) -> Situation:
    """Return the present situation."""
    now = utc_now()
    running = list_running(session, now)
    return Situation(
        now=now,
        queued=list_queued(session),
        running=running,
        nodes=list_nodes(session, now),
        rules=build_rules(session),
        recent_use=measure_recent_use(session, running, now),
    )


def build_rules(session: Session) -> Rules:
    """Return the administrator's rules; over how many nodes a job may be spread, it says itself."""
    settings = get_settings()
    quotas = {"express": settings.quota_express, "flex": settings.quota_flex, "spot": settings.quota_spot}
    weighted = select(User.id, User.share_weight).where(User.share_weight != 1)
    return Rules(
        quotas={tier: limit for tier, limit in quotas.items() if limit is not None},
        weights={row.id: row.share_weight for row in session.execute(weighted)},
    )


# -- what the scheduler is told ------------------------------------------------------------------------------

_EXPECTED = Job.estimate["duration_seconds"]["expected"].astext.cast(Float)


def list_queued(session: Session) -> list[QueuedJob]:
    """Return the waiting jobs, oldest first, with what is left of them after a checkpoint."""
    query = select(
        Job.id, Job.owner_id, Job.tier, Job.gpu_kind, Job.gpu_count, Job.queued_at, Job.checkpoint_step,
        Job.total_steps, Job.max_nodes, _EXPECTED,
    )  # fmt: skip
    rows = session.execute(query.where(Job.status == JobStatus.QUEUED).order_by(Job.queued_at, Job.id))
    queued = []
    for job_id, owner, tier, kind, count, queued_at, step, total, max_nodes, expected in rows:
        if expected is not None and step and total:
            expected *= max(0.0, 1 - step / total)
        queued.append(QueuedJob(job_id, owner, tier, kind, count, queued_at, expected, max_nodes))
    return queued


def list_running(session: Session, now: datetime) -> list[RunningJob]:
    """Return the jobs that hold devices, with when they are expected to end."""
    query = select(
        Job.id, Job.owner_id, Job.tier, Job.gpu_kind, Job.node_id, Job.devices, Job.attempt, Job.status, Job.assigned_at,
        Job.attempt_started_at, Job.eta_seconds, Job.stop_requested_at, Job.preempt_requested_at,
        _EXPECTED.label("expected"),
    )  # fmt: skip
    rows = session.execute(query.where(Job.status.in_(ACTIVE)).order_by(Job.id))
    further: dict[tuple[str, int], list[NodeShare]] = {}
    for share in shares.list_held(session):
        found = NodeShare(share.node_id, tuple(share.devices))
        further.setdefault((share.job_id, share.attempt), []).append(found)
    running = [
        _describe_running(row, tuple(further.pop((row.id, row.attempt), ())), now)
        for row in rows
        if row.node_id
    ]
    return running + _list_leaving(session, further, now)


def _list_leaving(
    session: Session, further: Mapping[tuple[str, int], list[NodeShare]], now: datetime
) -> list[RunningJob]:
    """Return as stopping jobs what ended attempts have not given back yet on further nodes."""
    leaving = []
    for (job_id, attempt), held in sorted(further.items()):
        job = session.get_one(Job, job_id)
        name = f"{job_id}.{attempt}"
        leaving.append(
            RunningJob(name, job.owner_id, job.tier, job.gpu_kind, tuple(held), now, is_stopping=True)
        )
    return leaving


def _describe_running(row: Any, further: tuple[NodeShare, ...], now: datetime) -> RunningJob:
    started_at = row.attempt_started_at if row.status == JobStatus.RUNNING else row.assigned_at
    started_at = started_at or now
    ends_at = None
    if row.eta_seconds is not None:
        ends_at = now + timedelta(seconds=row.eta_seconds)
    elif row.expected is not None:
        ends_at = started_at + timedelta(seconds=row.expected)
    return RunningJob(
        id=row.id,
        user=row.owner_id,
        tier=row.tier,
        gpu_kind=row.gpu_kind,
        shares=(NodeShare(row.node_id, tuple(row.devices)), *further),
        started_at=started_at,
        expected_end_at=ends_at,
        is_stopping=row.stop_requested_at is not None or row.preempt_requested_at is not None,
    )


def list_nodes(session: Session, now: datetime) -> list[Node]:
    """Return all nodes; those that are lost or draining are closed, devices in trouble are unusable."""
    found = []
    for node in nodes.list_nodes(session):
        devices: dict[str, list[str]] = {}
        for device in node.devices:
            devices.setdefault(device["kind"], []).append(device["uuid"])
        in_trouble = frozenset(device["uuid"] for device in node.devices if device.get("trouble"))
        found.append(Node(node.id, devices, nodes.derive_status(node, now) == "online", in_trouble))
    return found


def measure_recent_use(
    session: Session, running: Iterable[RunningJob], now: datetime
) -> dict[Account, float]:
    """Return the decayed GPU-seconds of each account: of ended attempts as they were charged, and of running ones."""
    age = cast(extract("epoch", now - LedgerEntry.created_at), Float)
    counted = LedgerEntry.device_seconds * func.power(0.5, age / HALF_LIFE_SECONDS)
    account = (LedgerEntry.user_id, LedgerEntry.tier, LedgerEntry.gpu_kind)
    oldest = now - timedelta(seconds=REMEMBERED_HALF_LIVES * HALF_LIFE_SECONDS)
    query = select(*account, func.sum(counted)).where(LedgerEntry.created_at > oldest).group_by(*account)
    use: dict[Account, float] = {}
    for user, tier, kind, gpu_seconds in session.execute(query):
        if tier and kind:
            use[Account(user, tier, kind)] = float(gpu_seconds)
    for job in running:
        one = Account(job.user, job.tier, job.gpu_kind)
        began_ago = max(0.0, (now - job.started_at) / timedelta(seconds=1))
        use[one] = use.get(one, 0.0) + sum_decayed(job.gpu_count, began_ago)
    return use


# -- what people are told ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prospect:
    """Where a job stands in its queue, why it waits, and when it is expected to start (at once, or unknown: None)."""

    position: int
    reason: str
    sentence: str
    sentence_zh: str
    expected_start_at: datetime | None


_told: tuple[float, dict[str, Prospect]] = (0.0, {})


def find_prospect(session: Session, job: Job) -> Prospect | None:
    """Return the prospect of a job; None when it does not wait."""
    return find_prospects(session, [job]).get(job.id)


def find_prospects(session: Session, jobs: Iterable[Job]) -> dict[str, Prospect]:
    """Return the prospects of those of `jobs` that wait, by job id."""
    global _told
    waiting = [job.id for job in jobs if job.status == JobStatus.QUEUED]
    if not waiting:
        return {}
    good_until, told = _told
    began = time.monotonic()
    if began >= good_until or any(job_id not in told for job_id in waiting):
        told = _describe_queue(session)
        took = time.monotonic() - began
        _told = (began + took * (1 + REST) if took > SLOW_SECONDS else 0.0), told
    return {job_id: told[job_id] for job_id in waiting if job_id in told}


def _describe_queue(session: Session) -> dict[str, Prospect]:
    situation = read_situation(session)
    now, made = situation.now, situation.plan()
    kinds = {job.id: job.gpu_kind for job in situation.queued}
    told: dict[str, Prospect] = {}
    ahead: dict[str, int] = {}
    for assignment in made.assignments:
        kind = kinds[assignment.job_id]
        ahead[kind] = ahead.get(kind, 0) + 1
        told[assignment.job_id] = _build_prospect(Waiting(ahead[kind], "starting", {}, None), now)
    for job_id, one in made.waiting.items():
        position = one.position + ahead.get(kinds[job_id], 0)
        told[job_id] = _build_prospect(one._replace(position=position), now)
    return told


def estimate_queue_seconds(
    situation: Situation, user_id: str, tier: str, gpu_kind: str, gpu_count: int, max_nodes: int = 1
) -> float:
    """Return how long a job of this user would wait if it were submitted now; 0 where nothing can be foreseen."""
    asked = QueuedJob("", user_id, tier, gpu_kind, gpu_count, situation.now, max_nodes=max_nodes)
    told = situation.plan(asked).waiting.get(asked.id)
    return told.starts_in_seconds or 0.0 if told else 0.0


def _build_prospect(waiting: Waiting, now: datetime) -> Prospect:
    starts_at = None
    if waiting.starts_in_seconds is not None and waiting.starts_in_seconds < FORESEEN_SECONDS:
        starts_at = _round_up(now + timedelta(seconds=waiting.starts_in_seconds))
    return Prospect(
        position=waiting.position,
        reason=waiting.reason,
        sentence=explain_waiting(waiting, "en"),
        sentence_zh=explain_waiting(waiting, "zh"),
        expected_start_at=starts_at,
    )


def _round_up(moment: datetime) -> datetime:
    """To the minute: nobody foresees better, and pages need not be told every second."""
    return (moment + timedelta(seconds=59, microseconds=999_999)).replace(second=0, microsecond=0)
