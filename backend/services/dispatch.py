"""Bringing queued jobs to free devices, and back when an assignment or a lease is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend import queue
from backend.domain.job import EndReason, JobStatus
from backend.domain.scheduler import QueuedJob, order_queue, plan_assignments
from backend.services import endings, nodes, uptime
from backend.services.moves import StaleJob, move
from backend.settings import get_settings
from backend.tables.base import utc_now
from backend.tables.job import Job
from backend.tables.node import Node

CLAIM_SECONDS = 45.0
_DISPATCH_LOCK = 0x7475_6E65


def dispatch(session: Session) -> int:
    """Assign what fits and ring the nodes; return how many jobs were assigned.

    Only one dispatch plans at a time: a second one leaves, as the first sees the same queue.
    """
    if not session.scalar(select(func.pg_try_advisory_xact_lock(_DISPATCH_LOCK))):
        return 0
    now = utc_now()
    queued = {job.id: job for job in session.scalars(select(Job).where(Job.status == JobStatus.QUEUED))}
    plan = plan_assignments([_as_queued(job) for job in queued.values()], nodes.list_free_nodes(session, now))
    names = {node.id: node.name for node in nodes.list_nodes(session)}
    assigned = 0
    for assignment in plan:
        job = queued[assignment.job_id]
        try:
            move(
                session,
                job,
                JobStatus.ASSIGNED,
                node_id=assignment.node_id,
                devices=list(assignment.devices),
                assigned_at=now,
                phase="preparing",
            )
        except StaleJob:
            continue
        queue.ring_node(session, names[assignment.node_id], job.id, job.attempt)
        assigned += 1
    return assigned


def _as_queued(job: Job) -> QueuedJob:
    return QueuedJob(job.id, job.tier, job.queued_at, job.gpu_kind, job.gpu_count)


def find_queue_position(session: Session, job: Job) -> int | None:
    """Return the job's place in its GPU kind's queue, from 1; None when it does not wait."""
    return find_queue_positions(session, [job]).get(job.id)


def find_queue_positions(session: Session, jobs: Iterable[Job]) -> dict[str, int]:
    """Return the places of those of `jobs` that wait, each from 1 in its GPU kind's queue, by job id."""
    kinds = {job.gpu_kind for job in jobs if job.status == JobStatus.QUEUED}
    if not kinds:
        return {}
    # Without the rows' large parts: queues may be long, and this is asked for often.
    columns = select(Job.id, Job.tier, Job.queued_at, Job.gpu_kind, Job.gpu_count)
    waiting = session.execute(columns.where(Job.status == JobStatus.QUEUED, Job.gpu_kind.in_(kinds))).all()
    places = Counter[str]()
    positions = {}
    for queued in order_queue([QueuedJob(*row) for row in waiting]):
        places[queued.gpu_kind] += 1
        positions[queued.id] = places[queued.gpu_kind]
    return positions


def reap(session: Session) -> int:
    """Take back assignments nobody claimed and leases that ran out; return how many.

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
        taken += _requeue_unclaimed(session, job)
    patience = get_settings().fence_seconds + 30
    if uptime.measure_answering_seconds(session, now) < patience:
        return taken
    lost = session.scalars(
        select(Job).where(
            Job.status == JobStatus.RUNNING, Job.lease_expires_at < now - timedelta(seconds=patience)
        )
    ).all()
    for job in lost:
        try:
            endings.end_attempt(session, job, EndReason.NODE_LOST, detail=_describe_lost_node(session, job))
            taken += 1
        except StaleJob:
            continue
    return taken


def _requeue_unclaimed(session: Session, job: Job) -> int:
    try:
        move(
            session,
            job,
            JobStatus.QUEUED,
            "not_claimed",
            attempt=job.attempt + 1,
            node_id=None,
            devices=[],
            phase="queued",
            queued_at=job.queued_at,
        )
    except StaleJob:
        return 0
    queue.ring_dispatch(session)
    return 1


def _describe_lost_node(session: Session, job: Job) -> str:
    node = session.get(Node, job.node_id) if job.node_id else None
    return f"Nothing was heard of node {node.name if node else '?'} for too long."
