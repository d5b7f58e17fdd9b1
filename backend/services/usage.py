"""How much device time was used and what it cost: of the ledger, and of what runs now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    Double,
    FromClause,
    String,
    cast,
    column,
    func,
    literal,
    select,
    union_all,
    values,
)
from sqlalchemy.orm import Session

from backend.domain.gpu_kinds import describe_gpu_kind
from backend.domain.job import JobStatus
from backend.domain.pricing import TIERS, price
from backend.services import billing
from backend.tables.base import utc_now
from backend.tables.job import Job
from backend.tables.ledger import LedgerEntry
from backend.tables.user import User

GroupBy = Literal["user", "day", "gpu_kind", "tier"]
UNKNOWN = "unknown"
"""The group of charges that do not say: of jobs deleted before charges noted tier and GPU kind."""

_COLUMNS: Sequence[tuple[str, Any]] = (
    ("user_id", String),
    ("job_id", String),
    ("day", Date),
    ("gpu_kind", String),
    ("tier", String),
    ("device_seconds", Double),
    ("amount_e4", BigInteger),
    ("is_running", Boolean),
)


@dataclass(frozen=True)
class Amount:
    """Device time in seconds, its cost, and how many attempts and jobs that was."""

    device_seconds: float
    cost_e4: int
    attempts: int
    jobs: int


@dataclass(frozen=True)
class Usage:
    """What one group used; `running`, a part of it, is of attempts that run and grows."""

    id: str
    name: str
    total: Amount
    running: Amount


def list_usage(
    session: Session,
    group_by: GroupBy,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> list[Usage]:
    """Return what every group used in a span of time: days newest first, others with most use first.

    An attempt counts when it is charged, which is when it ends, and one that runs counts now; days are days in
    UTC. Only charges in the present currency count.
    """
    attempts = _select_attempts(session, created_after, created_before)
    keys = {"user": "user_id", "day": "day", "gpu_kind": "gpu_kind", "tier": "tier"}
    key = func.coalesce(cast(attempts.c[keys[group_by]], String), UNKNOWN).label("key")
    running = attempts.c.is_running
    query = select(
        key,
        func.sum(attempts.c.device_seconds),
        func.sum(attempts.c.amount_e4),
        func.count(),
        func.count(attempts.c.job_id.distinct()),
        func.coalesce(func.sum(attempts.c.device_seconds).filter(running), 0.0),
        func.coalesce(func.sum(attempts.c.amount_e4).filter(running), 0),
        func.count().filter(running),
        func.count(attempts.c.job_id.distinct()).filter(running),
    ).group_by(key)
    found = session.execute(query).all()
    names = _list_names(session, group_by, [row[0] for row in found])
    usages = [Usage(row[0], names[row[0]], _read_amount(*row[1:5]), _read_amount(*row[5:9])) for row in found]
    if group_by == "day":
        return sorted(usages, key=lambda usage: usage.id, reverse=True)
    return sorted(usages, key=lambda usage: (-usage.total.device_seconds, usage.id))


def _read_amount(device_seconds: float, cost_e4: int, attempts: int, jobs: int) -> Amount:
    return Amount(round(float(device_seconds), 3), int(cost_e4), attempts, jobs)


def _select_attempts(
    session: Session, created_after: datetime | None, created_before: datetime | None
) -> FromClause:
    """Select one row for every attempt of the span: those charged, and those that run as if charged now."""
    now = utc_now()
    charged = select(
        LedgerEntry.user_id,
        # A charge that no longer knows its job counts as a job of its own.
        func.coalesce(LedgerEntry.job_id, LedgerEntry.id).label("job_id"),
        cast(func.timezone("UTC", LedgerEntry.created_at), Date).label("day"),
        LedgerEntry.gpu_kind,
        LedgerEntry.tier,
        LedgerEntry.device_seconds,
        LedgerEntry.amount_e4,
        literal(False).label("is_running"),
    ).where(LedgerEntry.currency == billing.get_currency())
    if created_after:
        charged = charged.where(LedgerEntry.created_at >= created_after)
    if created_before:
        charged = charged.where(LedgerEntry.created_at < created_before)
    is_now_inside = (not created_after or created_after <= now) and (
        not created_before or now < created_before
    )
    running = _list_running(session, now) if is_now_inside else []
    if not running:
        return charged.subquery()
    rows = values(*(column(name, kind) for name, kind in _COLUMNS), name="running").data(running)
    return union_all(charged, select(rows)).subquery()


def _list_running(session: Session, now: datetime) -> list[tuple[Any, ...]]:
    """Return for every attempt that runs what it would be charged now, in the order of `_COLUMNS`."""
    rows: list[tuple[Any, ...]] = []
    for job in session.scalars(select(Job).where(Job.status == JobStatus.RUNNING)):
        seconds = max(0.0, (now - (job.attempt_started_at or now)) / timedelta(seconds=1))
        list_price = describe_gpu_kind(job.gpu_kind).price_per_hour_e4
        amount = price(seconds, job.gpu_count, list_price, job.tier)
        used = seconds * job.gpu_count
        rows.append((job.owner_id, job.id, now.date(), job.gpu_kind, job.tier, used, amount, True))
    return rows


def _list_names(session: Session, group_by: GroupBy, ids: Sequence[str]) -> dict[str, str]:
    if group_by == "user":
        found = session.execute(select(User.id, User.username).where(User.id.in_(ids))).all()
        return {row.id: row.username for row in found}
    if group_by == "gpu_kind":
        return {kind: describe_gpu_kind(kind).name for kind in ids}
    if group_by == "tier":
        return {tier: TIERS[tier].names["en"] if tier in TIERS else tier for tier in ids}
    return {day: day for day in ids}
