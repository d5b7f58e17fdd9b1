"""What follows when an attempt ends: the job moves, is charged, and says why in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend import queue
from backend.domain.job import EndReason, JobStatus, decide_outcome, explain_end
from backend.services import billing
from backend.services.moves import move
from backend.tables.base import utc_now
from backend.tables.job import Job


def end_attempt(
    session: Session,
    job: Job,
    reason: EndReason,
    *,
    detail: str = "",
    log_excerpt: str = "",
    run_seconds: float | None = None,
) -> None:
    """End the running attempt of `job`: requeue the job or finish it, and charge the attempt once.

    `run_seconds` is the attempt's wall time; unmeasured, the time until its lease ran out counts.
    """
    # First of all, as whoever else ends this attempt now also does: the charge is known to be single by its row, and two
    # that take job and charge in different order would wait for one another.
    session.execute(select(Job.id).where(Job.id == job.id).with_for_update())
    now = utc_now()
    outcome = decide_outcome(reason, job.faults, job.stop_requested_at is not None)
    if run_seconds is None:
        started = job.attempt_started_at or now
        run_seconds = max(0.0, (min(now, job.lease_expires_at or now) - started) / timedelta(seconds=1))
    billing.charge_attempt(session, job, run_seconds)
    values: dict[str, Any] = {
        "lease_hash": None,
        "lease_expires_at": None,
        "preempt_requested_at": None,
        "faults": job.faults + int(outcome.is_fault),
    }
    if outcome.requeue:
        values |= {
            "attempt": job.attempt + 1,
            "node_id": None,
            "devices": [],
            "phase": "queued",
            "eta_seconds": None,
            "log_bytes": 0,
        }
        move(session, job, JobStatus.QUEUED, reason, queued_at=job.queued_at, **values)
        queue.ring_dispatch(session)
        return
    if outcome.status is JobStatus.CANCELLED and reason is not EndReason.TIME_LIMIT:
        reason = EndReason.USER_CANCELLED if job.stop_requested_at else reason
    error = build_error(reason, detail, log_excerpt) if outcome.status is JobStatus.FAILED else None
    values |= {"end_reason": reason, "finished_at": now, "error": error, "eta_seconds": None}
    if outcome.status is JobStatus.SUCCEEDED:
        values["phase"] = "finished"
    move(session, job, outcome.status, reason, **values)
    queue.ring_dispatch(session)


def build_error(reason: EndReason, detail: str, log_excerpt: str) -> dict[str, Any]:
    """Return the `error` of a failed job, with its sentences in both languages."""
    english, chinese = explain_end(reason, "en"), explain_end(reason, "zh")
    return {
        "code": reason.value,
        "title": english.title,
        "detail": detail or english.title,
        "hint": english.hint,
        "title_zh": chinese.title,
        "hint_zh": chinese.hint,
        "log_excerpt": log_excerpt,
    }
