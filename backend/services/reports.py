"""What supervisors say about their attempts: claim, report, finish. The lease decides who may speak."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.domain.errors import Conflict, NotFound
from backend.domain.job import JobStatus
from backend.domain.pace import SHORTEST_SECONDS
from backend.domain.protocol import (
    LEASE_SECONDS,
    FinalReport,
    LaunchOrder,
    Phase,
    Reply,
    Report,
    Want,
)
from backend.services import endings, estimate_history, pace, report_rows, shares
from backend.services.launch_orders import build_order, derive_lease, hash_lease, is_lease
from backend.services.moves import StaleJob, move
from backend.services.report_rows import Standing
from backend.tables.artifact import Artifact
from backend.tables.base import utc_now
from backend.tables.job import Job
from backend.tables.node import Node


def claim(session: Session, job_id: str, attempt: int, node_name: str, supervisor: str = "") -> LaunchOrder:
    """Give an assigned attempt to the supervisor that asks for it, once; Conflict for everybody else.

    A supervisor that heard no answer asks again and is given the same lease, which is derived from its name:
    otherwise an answer lost on the way would leave the attempt running nowhere.
    """
    job = _get_job(session, job_id)
    node = session.get(Node, job.node_id) if job.node_id else None
    if job.attempt != attempt or node is None or node.name != node_name:
        raise Conflict(f"Attempt {attempt} of job {job_id} is not yours to run.")
    lease, now = derive_lease(job, supervisor), utc_now()
    if job.status == JobStatus.RUNNING and is_lease(lease, job.lease_hash):
        return _build_order(session, job, lease)
    if job.status != JobStatus.ASSIGNED:
        raise Conflict(f"Attempt {attempt} of job {job_id} is not yours to run.")
    if job.max_nodes > 1:
        shares.require_gathered(session, job)
    try:
        move(
            session,
            job,
            JobStatus.RUNNING,
            lease_hash=hash_lease(lease),
            lease_expires_at=now + timedelta(seconds=LEASE_SECONDS),
            started_at=job.started_at or now,
            attempt_started_at=now,
            phase=Phase.PREPARING,
            log_bytes=0,
            master_port=None,
        )
    except StaleJob as error:
        raise Conflict(str(error)) from error
    return _build_order(session, job, lease)


def _build_order(session: Session, job: Job, lease: str) -> LaunchOrder:
    further = len(shares.list_present(session, job)) if job.max_nodes > 1 else 0
    return build_order(session, job, lease, devices=job.devices, node_count=1 + further)


def report(session: Session, job_id: str, attempt: int, lease: str, message: Report) -> Reply:
    """Note how an attempt stands and extend its lease; Conflict when the lease is no longer good."""
    standing = _note(session, job_id, attempt, lease, message)
    want = _choose_want(standing)
    if standing.max_nodes == 1:
        return Reply(want=want, report_in_seconds=pace.find_report_seconds(session))
    job = _get_job(session, job_id)
    job.master_port = message.master_port or job.master_port
    return Reply(
        want=Want.END if shares.has_failed(session, job) else want,
        # Nodes of one job wait for one another, so that they are never kept silent.
        report_in_seconds=SHORTEST_SECONDS,
        peers_running=shares.count_running(session, job),
    )


def _note(session: Session, job_id: str, attempt: int, lease: str, message: Report) -> Standing:
    """Store what a report says; return what it is answered by."""
    now = utc_now()
    expires_at = now + timedelta(seconds=LEASE_SECONDS)
    standing = report_rows.note_standing(session, job_id, attempt, hash_lease(lease), message, expires_at)
    if standing is None:
        if session.scalar(select(Job.id).where(Job.id == job_id)) is None:
            raise NotFound("There is no such job.")
        raise Conflict(f"The lease of attempt {attempt} of job {job_id} is lost.")
    report_rows.store_points(session, job_id, attempt, message, now)
    report_rows.store_samples(session, job_id, message, now)
    return standing


def report_share(
    session: Session, job_id: str, attempt: int, node_rank: int, lease: str, message: Report
) -> Reply:
    """Note that a further node works on an attempt, and how its devices stand."""
    reply = shares.report(session, job_id, attempt, node_rank, lease, message)
    if reply.want is not Want.END:
        report_rows.store_samples(session, job_id, message, utc_now())
    return reply


def _choose_want(standing: Standing) -> Want:
    if standing.stop_requested_at:
        return Want.STOP
    return Want.PREEMPT if standing.preempt_requested_at else Want.CONTINUE


def finish(session: Session, job_id: str, attempt: int, lease: str, message: FinalReport) -> Reply:
    """Take the last word about an attempt; one that was already ended is answered and changes nothing."""
    try:
        _note(session, job_id, attempt, lease, message)
    except Conflict:
        return Reply(want=Want.STOP, report_in_seconds=SHORTEST_SECONDS)
    job = _get_job(session, job_id)
    if job.max_nodes > 1:
        message = shares.choose_end(session, job, message)
    job.results = message.results or job.results
    job.checkpoint_step = (
        message.checkpoint_step if message.checkpoint_step is not None else job.checkpoint_step
    )
    job.actual = _merge_actual(job, message)
    _store_artifacts(session, job, message)
    session.flush()
    endings.end_attempt(
        session,
        job,
        message.end_reason,
        detail=message.detail,
        log_excerpt=message.log_excerpt,
        run_seconds=message.run_seconds,
    )
    estimate_history.note_job(session, job)
    return Reply(want=Want.STOP, report_in_seconds=SHORTEST_SECONDS)


def _get_job(session: Session, job_id: str) -> Job:
    job = session.get(Job, job_id, with_for_update=True)
    if job is None:
        raise NotFound("There is no such job.")
    return job


def _merge_actual(job: Job, message: FinalReport) -> dict[str, object]:
    """Add this attempt's measurements to those of earlier ones."""
    phases = dict(job.actual.get("phase_seconds", {}))
    for phase, seconds in message.phase_seconds.items():
        phases[phase] = round(phases.get(phase, 0.0) + seconds, 3)
    actual = job.actual | {
        "duration_seconds": round(job.actual.get("duration_seconds", 0.0) + message.run_seconds, 3),
        "phase_seconds": phases,
    }
    if message.step_seconds_median is not None:
        actual["step_seconds_median"] = message.step_seconds_median
    return actual


def _store_artifacts(session: Session, job: Job, message: FinalReport) -> None:
    known = {row.name: row for row in session.scalars(select(Artifact).where(Artifact.job_id == job.id))}
    for file in message.artifacts:
        row = known.get(file.name)
        if row is None:
            row = Artifact(job_id=job.id, name=file.name)
            session.add(row)
            known[file.name] = row
        row.attempt, row.size_bytes = job.attempt, file.size_bytes
