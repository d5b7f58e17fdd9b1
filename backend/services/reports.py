"""What supervisors say about their attempts: claim, report, finish. The lease decides who may speak."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, case, func, or_, select
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session

from backend.domain.errors import Conflict, NotFound
from backend.domain.job import JobStatus
from backend.domain.protocol import (
    LEASE_SECONDS,
    FinalReport,
    LaunchOrder,
    Phase,
    Reply,
    Report,
    Want,
)
from backend.services import endings, estimate_history, shares
from backend.services.launch_orders import build_order, derive_lease, hash_lease, is_lease
from backend.services.moves import StaleJob, move
from backend.tables.artifact import Artifact
from backend.tables.base import utc_now
from backend.tables.job import GpuSample, Job, MetricRow
from backend.tables.node import Node

REPORT_SECONDS = 1.0
SAMPLE_SECONDS = 5.0


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
    job = _get_leased(session, job_id, attempt, lease)
    _note(session, job, message)
    job.lease_expires_at = utc_now() + timedelta(seconds=LEASE_SECONDS)
    if job.max_nodes == 1:
        return Reply(want=_choose_want(job), report_in_seconds=REPORT_SECONDS)
    job.master_port = message.master_port or job.master_port
    want = Want.END if shares.has_failed(session, job) else _choose_want(job)
    return Reply(
        want=want, report_in_seconds=REPORT_SECONDS, peers_running=shares.count_running(session, job)
    )


def report_share(
    session: Session, job_id: str, attempt: int, node_rank: int, lease: str, message: Report
) -> Reply:
    """Note that a further node works on an attempt, and how its devices stand."""
    reply, job = shares.report(session, job_id, attempt, node_rank, lease, message)
    if reply.want is not Want.END:
        _store_gpu_samples(session, job, message)
    return reply


def _choose_want(job: Job) -> Want:
    if job.stop_requested_at:
        return Want.STOP
    return Want.PREEMPT if job.preempt_requested_at else Want.CONTINUE


def finish(session: Session, job_id: str, attempt: int, lease: str, message: FinalReport) -> Reply:
    """Take the last word about an attempt; one that was already ended is answered and changes nothing."""
    try:
        job = _get_leased(session, job_id, attempt, lease)
    except Conflict:
        return Reply(want=Want.STOP, report_in_seconds=REPORT_SECONDS)
    if job.max_nodes > 1:
        message = shares.choose_end(session, job, message)
    _note(session, job, message)
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
    return Reply(want=Want.STOP, report_in_seconds=REPORT_SECONDS)


def _get_job(session: Session, job_id: str) -> Job:
    job = session.get(Job, job_id, with_for_update=True)
    if job is None:
        raise NotFound("There is no such job.")
    return job


def _get_leased(session: Session, job_id: str, attempt: int, lease: str) -> Job:
    job = _get_job(session, job_id)
    if job.status != JobStatus.RUNNING or job.attempt != attempt or not is_lease(lease, job.lease_hash):
        raise Conflict(f"The lease of attempt {attempt} of job {job_id} is lost.")
    return job


def _note(session: Session, job: Job, message: Report) -> None:
    job.phase = message.phase
    job.step = message.step
    job.total_steps = message.total_steps if message.total_steps is not None else job.total_steps
    job.eta_seconds = message.eta_seconds
    job.log_bytes = message.log_bytes
    job.tracking_mode = message.tracking_mode or job.tracking_mode
    job.tracking_url = message.tracking_url or job.tracking_url
    if message.peak_memory_bytes is not None:
        job.actual = job.actual | {"peak_memory_bytes": message.peak_memory_bytes}
    _store_points(session, job, message)
    _store_gpu_samples(session, job, message)


def _store_points(session: Session, job: Job, message: Report) -> None:
    """Points may come again or in pieces: the step decides, and a later value fills or replaces.

    A later attempt's point replaces the whole of an earlier attempt's.
    """
    merged: dict[int, dict[str, object]] = {}
    for point in message.points:
        values = point.model_dump(exclude_none=True)
        merged[point.step] = merged.get(point.step, {}) | values
    if not merged:
        return
    names = ("epoch", "loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second")
    now = utc_now()
    rows = [
        {"job_id": job.id, "attempt": job.attempt, "step": step, "at": values["at"], "noted_at": now}
        | {name: values.get(name) for name in names}
        for step, values in sorted(merged.items())
    ]
    statement = insert(MetricRow).values(rows)
    is_replaced = statement.excluded.attempt != MetricRow.attempt
    kept = {
        name: case(
            (is_replaced, statement.excluded[name]),
            else_=func.coalesce(statement.excluded[name], getattr(MetricRow, name)),
        )
        for name in names
    }
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["job_id", "step"],
            set_=kept | {name: statement.excluded[name] for name in ("attempt", "at", "noted_at")},
            where=_differs(statement, names),
        )
    )


def _differs(statement: Insert, names: tuple[str, ...]) -> ColumnElement[bool]:
    """A point sent again unchanged is not noted anew, so that streams do not show it twice."""
    changed = [
        statement.excluded[name].is_not(None)
        & statement.excluded[name].is_distinct_from(getattr(MetricRow, name))
        for name in names
    ]
    return or_(statement.excluded.attempt != MetricRow.attempt, *changed)


def _store_gpu_samples(session: Session, job: Job, message: Report) -> None:
    """Reports come every second; a long job would leave millions of samples."""
    if not message.devices:
        return
    now = utc_now()
    of_this_node = GpuSample.device.in_([device.uuid for device in message.devices])
    last = session.scalar(select(func.max(GpuSample.at)).where(GpuSample.job_id == job.id, of_this_node))
    if last is not None and now - last < timedelta(seconds=SAMPLE_SECONDS):
        return
    rows = [
        {
            "job_id": job.id,
            "at": now,
            "device": device.uuid,
            "utilization": device.utilization,
            "memory_used_bytes": device.memory_used_bytes,
            "power_watts": device.power_watts,
        }
        for device in message.devices
    ]
    session.execute(insert(GpuSample).values(rows).on_conflict_do_nothing())


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
