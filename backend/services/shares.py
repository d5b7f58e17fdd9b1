"""The further nodes of a job over several: what each holds of an attempt, and what its supervisor says.

Rank 0 speaks for the attempt (`services/reports.py`). The others hold leases of their own: an attempt lives for as
long as all of them do. Their supervisors are told to end once it does not, and say so when nothing is left; until
then the devices count as held, also when the job has long gone elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from backend import queue
from backend.domain.errors import Conflict, NotFound, TooEarly
from backend.domain.job import ACTIVE, EndReason, JobStatus, find_telling_end
from backend.domain.pace import SHORTEST_SECONDS
from backend.domain.protocol import (
    LEASE_SECONDS,
    AttemptKey,
    FinalReport,
    LaunchOrder,
    Reply,
    Report,
    Want,
)
from backend.domain.scheduling.values import NodeShare
from backend.services.launch_orders import build_order, derive_lease, hash_lease, is_lease
from backend.tables.base import utc_now
from backend.tables.job import Job, JobShare
from backend.tables.node import Node


def enter(session: Session, job: Job, further: Sequence[NodeShare]) -> None:
    """Note what the job's present attempt is given on further nodes, from rank 1 on."""
    for rank, share in enumerate(further, start=1):
        session.add(
            JobShare(
                job_id=job.id,
                attempt=job.attempt,
                node_rank=rank,
                node_id=share.node_id,
                devices=list(share.devices),
            )
        )
    session.flush()


def list_held(session: Session) -> Sequence[JobShare]:
    """Return the shares whose devices are in use, or may be."""
    query = select(JobShare).where(JobShare.ended_at.is_(None))
    return session.scalars(query.order_by(JobShare.job_id, JobShare.node_rank)).all()


def list_present(session: Session, job: Job) -> Sequence[JobShare]:
    """Return the shares of the job's present attempt, by rank."""
    query = select(JobShare).where(JobShare.job_id == job.id, JobShare.attempt == job.attempt)
    return session.scalars(query.order_by(JobShare.node_rank)).all()


def list_assigned(session: Session, node_id: str) -> list[AttemptKey]:
    """Return what of assigned jobs waits on a node for a supervisor."""
    query = (
        select(JobShare.job_id, JobShare.attempt, JobShare.node_rank)
        .join(Job, (Job.id == JobShare.job_id) & (Job.attempt == JobShare.attempt))
        .where(
            JobShare.node_id == node_id, JobShare.lease_hash.is_(None), Job.status == JobStatus.ASSIGNED.value
        )
    )
    return [
        AttemptKey(job_id=job_id, attempt=attempt, node_rank=rank)
        for job_id, attempt, rank in session.execute(query)
    ]


# -- what rank 0 is told of the others -----------------------------------------------------------------------


def require_gathered(session: Session, job: Job) -> int:
    """Return over how many nodes the attempt runs; TooEarly unless all further ones have claimed their part.

    Until rank 0 has its order the job is only assigned, so a gang that never gathers goes back to the queue as
    every unclaimed assignment does.
    """
    present = list_present(session, job)
    if any(share.lease_hash is None or share.ended_at is not None for share in present):
        raise TooEarly("The other nodes of this job are not ready yet.")
    return 1 + len(present)


def count_running(session: Session, job: Job) -> int:
    """Return on how many further nodes the present attempt has not ended."""
    return sum(share.ended_at is None for share in list_present(session, job))


def has_failed(session: Session, job: Job) -> bool:
    """Whether the present attempt has failed on a further node, so that the rest of it cannot go on."""
    return any(
        share.ended_at is not None and share.end_reason != EndReason.COMPLETED
        for share in list_present(session, job)
    )


def choose_end(session: Session, job: Job, message: FinalReport) -> FinalReport:
    """Return rank 0's last word, with the reason of the node that knows it where that is another."""
    present = [share for share in list_present(session, job) if share.end_reason is not None]
    place = find_telling_end(message.end_reason, [EndReason(share.end_reason or "") for share in present])
    if place is None:
        return message
    share = present[place]
    node = session.get(Node, share.node_id)
    name = f"node {node.name}" if node else f"node rank {share.node_rank}"
    return message.model_copy(
        update={
            "end_reason": EndReason(share.end_reason or ""),
            "detail": f"On {name}: {share.detail}" if share.detail else f"It ended on {name}.",
            "log_excerpt": share.log_excerpt or message.log_excerpt,
        }
    )


# -- what the others' supervisors say ------------------------------------------------------------------------


def claim(
    session: Session, job_id: str, attempt: int, node_rank: int, node_name: str, supervisor: str
) -> LaunchOrder:
    """Give a share of an assigned attempt to the supervisor that asks for it, once; twice is like once."""
    job = session.get(Job, job_id, with_for_update=True)
    if job is None:
        raise NotFound("There is no such job.")
    share = session.get(JobShare, (job_id, attempt, node_rank))
    node = session.get(Node, share.node_id) if share else None
    refusal = Conflict(f"Node rank {node_rank} of attempt {attempt} of job {job_id} is not yours to run.")
    if share is None or node is None or node.name != node_name or not _is_alive(job, share):
        raise refusal
    lease = derive_lease(job, supervisor, node_rank)
    if share.lease_hash is None and job.status == JobStatus.ASSIGNED:
        share.lease_hash = hash_lease(lease)
        share.lease_expires_at = utc_now() + timedelta(seconds=LEASE_SECONDS)
    elif not is_lease(lease, share.lease_hash):
        raise refusal
    node_count = 1 + len(list_present(session, job))
    return build_order(session, job, lease, devices=share.devices, node_rank=node_rank, node_count=node_count)


def report(session: Session, job_id: str, attempt: int, node_rank: int, lease: str, message: Report) -> Reply:
    """Extend a share's lease and say where rank 0 gathers."""
    job, share = _get_leased(session, job_id, attempt, node_rank, lease)
    share.lease_expires_at = utc_now() + timedelta(seconds=LEASE_SECONDS)
    if not _is_alive(job, share):
        return Reply(want=Want.END, report_in_seconds=SHORTEST_SECONDS)
    # While the job is assigned, the port it has is that of an earlier attempt.
    if job.status != JobStatus.RUNNING or job.master_port is None:
        return Reply(want=Want.CONTINUE, report_in_seconds=SHORTEST_SECONDS / 4)
    leader = session.get(Node, job.node_id) if job.node_id else None
    return Reply(
        want=Want.CONTINUE,
        report_in_seconds=SHORTEST_SECONDS,
        master_address=(leader.address or leader.name) if leader else None,
        master_port=job.master_port,
    )


def finish(
    session: Session, job_id: str, attempt: int, node_rank: int, lease: str, message: FinalReport
) -> Reply:
    """Note that nothing of a share runs any more, and why; rank 0 hears of it and ends the attempt."""
    reply = Reply(want=Want.END, report_in_seconds=SHORTEST_SECONDS)
    job = session.get(Job, job_id, with_for_update=True)
    try:
        job, share = _get_leased(session, job_id, attempt, node_rank, lease)
    except Conflict:
        return reply
    if not _is_alive(job, share):
        session.delete(share)
    elif share.ended_at is None:
        share.ended_at = utc_now()
        share.end_reason, share.detail = message.end_reason.value, message.detail
        share.log_excerpt = message.log_excerpt
    session.flush()
    queue.ring_dispatch(session)
    return reply


def _get_leased(
    session: Session, job_id: str, attempt: int, node_rank: int, lease: str
) -> tuple[Job, JobShare]:
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound("There is no such job.")
    share = session.get(JobShare, (job_id, attempt, node_rank))
    if share is None or not is_lease(lease, share.lease_hash):
        raise Conflict(f"The lease of node rank {node_rank} of attempt {attempt} of job {job_id} is lost.")
    return job, share


def _is_alive(job: Job, share: JobShare) -> bool:
    """Whether the attempt of a share still is the job's and goes on."""
    return job.attempt == share.attempt and job.status in ACTIVE


# -- what is lost --------------------------------------------------------------------------------------------


def list_lost_jobs(session: Session, before: datetime) -> list[tuple[Job, Node]]:
    """Return running jobs of which a further node was last heard before `before`, with that node."""
    query = (
        select(Job, Node)
        .join(JobShare, (JobShare.job_id == Job.id) & (JobShare.attempt == Job.attempt))
        .join(Node, Node.id == JobShare.node_id)
        .where(
            Job.status == JobStatus.RUNNING.value,
            JobShare.ended_at.is_(None),
            JobShare.lease_expires_at < before,
        )
        .order_by(Job.id, JobShare.node_rank)
    )
    found: dict[str, tuple[Job, Node]] = {}
    for job, node in session.execute(query):
        found.setdefault(job.id, (job, node))
    return list(found.values())


def drop_lost(session: Session, before: datetime) -> int:
    """Give back what ended attempts held on nodes that were last heard before `before`; return how many."""
    query = (
        delete(JobShare)
        .where(
            JobShare.lease_expires_at < before,
            JobShare.job_id == Job.id,
            (Job.attempt != JobShare.attempt) | Job.status.not_in(ACTIVE),
        )
        .returning(JobShare.job_id)
        .execution_options(synchronize_session=False)
    )
    return len(session.execute(query).all())
