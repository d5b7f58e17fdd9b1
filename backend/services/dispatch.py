"""Bringing queued jobs to free devices, and back when an assignment or a lease is lost."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend import queue
from backend.domain.job import EndReason, JobStatus
from backend.domain.scheduling.values import Assignment
from backend.services import endings, nodes, scheduling, shares, uptime
from backend.services.moves import StaleJob, move
from backend.settings import get_settings
from backend.tables.base import utc_now
from backend.tables.job import Job
from backend.tables.node import Node

CLAIM_SECONDS = 45.0
_DISPATCH_LOCK = 0x7475_6E65


def dispatch(session: Session) -> int:
    """Do what the scheduler plans: assign jobs, ring the nodes, ask for room; return how many were assigned.

    Only one dispatch plans at a time: a second one leaves, as the first sees the same queue.
    """
    if not session.scalar(select(func.pg_try_advisory_xact_lock(_DISPATCH_LOCK))):
        return 0
    situation = scheduling.read_situation(session)
    now, plan = situation.now, situation.plan(with_waiting=False)
    names = {node.id: node.name for node in nodes.list_nodes(session)} if plan.assignments else {}
    assigned = sum(_assign(session, assignment, names, now) for assignment in plan.assignments)
    for preemption in plan.preemptions:
        _ask_for_room(session, preemption.job_id, now)
    return assigned


def _assign(session: Session, assignment: Assignment, names: dict[str, str], now: datetime) -> bool:
    job = session.get(Job, assignment.job_id)
    share, *further = assignment.shares
    if job is None:
        return False
    try:
        move(
            session,
            job,
            JobStatus.ASSIGNED,
            node_id=share.node_id,
            devices=list(share.devices),
            assigned_at=now,
            phase="preparing",
        )
    except StaleJob:
        return False
    shares.enter(session, job, further)
    for rank, each in enumerate(assignment.shares):
        queue.ring_node(session, names[each.node_id], job.id, job.attempt, rank)
    return True


def _ask_for_room(session: Session, job_id: str, now: datetime) -> None:
    """Have a job saved and stopped by its next report, or take it back if nobody has begun it."""
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None:
        return
    if job.status == JobStatus.ASSIGNED:
        _take_back(session, job, "preempted")
    elif job.status == JobStatus.RUNNING and job.preempt_requested_at is None:
        job.preempt_requested_at = now


def reap(session: Session) -> int:
    """Take back assignments nobody claimed and leases that ran out, of any node of a job; return how many.

    A lost lease is acted on only after `fence_seconds` and a margin, in all of which we could be reached: by
    then a cut-off node has ended its run, so two attempts never train side by side; and after an outage of
    ours every node has had that long to speak again.
    """
    now = utc_now()
    taken = 0
    unclaimed = session.scalars(
        select(Job).where(
            Job.status == JobStatus.ASSIGNED, Job.assigned_at < now - timedelta(seconds=CLAIM_SECONDS)
        )
    ).all()
    for job in unclaimed:
        taken += _take_back(session, job, "not_claimed")
    patience = get_settings().fence_seconds + 30
    if uptime.measure_answering_seconds(session, now) < patience:
        return taken
    before = now - timedelta(seconds=patience)
    query = select(Job).where(Job.status == JobStatus.RUNNING, Job.lease_expires_at < before)
    for job in session.scalars(query).all():
        taken += _end_lost(session, job, session.get(Node, job.node_id) if job.node_id else None)
    for job, node in shares.list_lost_jobs(session, before):
        taken += _end_lost(session, job, node)
    if shares.drop_lost(session, before):
        queue.ring_dispatch(session)
    return taken


def _end_lost(session: Session, job: Job, node: Node | None) -> bool:
    try:
        detail = f"Nothing was heard of node {node.name if node else '?'} for too long."
        endings.end_attempt(session, job, EndReason.NODE_LOST, detail=detail)
    except StaleJob:
        return False
    return True


def _take_back(session: Session, job: Job, reason: str) -> bool:
    """Put an assigned job back into its place in the queue."""
    try:
        move(
            session,
            job,
            JobStatus.QUEUED,
            reason,
            attempt=job.attempt + 1,
            node_id=None,
            devices=[],
            phase="queued",
            queued_at=job.queued_at,
        )
    except StaleJob:
        return False
    queue.ring_dispatch(session)
    return True
