"""Keeps estimates beside what jobs took, and corrects new estimates by them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.domain.estimate.history import MAX_RUNS, Cell, Correction, PastRun, Seconds, fit_correction
from backend.domain.job import JobStatus
from backend.tables.base import new_id
from backend.tables.estimate_record import EstimateRecord
from backend.tables.job import Job

_SETUP = ("preparing", "loading", "tokenizing")
_WORK = ("training", "evaluating", "saving")
"""The phases of a run (`protocol.Phase`) that stand for the estimate's seconds until the first step and after it."""


def find_correction(session: Session, cell: Cell, modelled_on: str | None) -> Correction | None:
    """Return what the newest jobs of the cell's GPU kind teach about it.

    `modelled_on` is the fingerprint of the measured figures that the new estimate rests on (None for published ones).
    Jobs modelled on others teach nothing of these: what they found wrong, measuring may have put right.
    """
    newest = (
        select(EstimateRecord)
        .where(EstimateRecord.gpu_kind == cell.gpu_kind)
        .where(EstimateRecord.modelled_on.is_not_distinct_from(modelled_on))
        .order_by(EstimateRecord.id.desc())
        .limit(MAX_RUNS)
    )
    history = tuple(_show_run(record) for record in reversed(session.scalars(newest).all()))
    return _fit(history, cell)


@lru_cache(maxsize=256)
def _fit(history: tuple[PastRun, ...], cell: Cell) -> Correction | None:
    """The form asks at every keystroke; the history changes when a job ends."""
    return fit_correction(history, cell)


def _show_run(record: EstimateRecord) -> PastRun:
    return PastRun(
        Cell(record.gpu_kind, record.stage, record.family, record.finetuning_type),
        Seconds(record.modelled_setup_seconds, record.modelled_work_seconds),
        Seconds(record.actual_setup_seconds, record.actual_work_seconds),
    )


def note_job(session: Session, job: Job) -> None:
    """Keep a job that succeeded in its first attempt, once; a stopped or resumed one says nothing of a whole run."""
    if job.status != JobStatus.SUCCEEDED or job.attempt != 1:
        return
    try:
        values = _read_record(job.estimate, job.actual["phase_seconds"])
    except (KeyError, TypeError):  # estimated by an older version
        return
    statement = insert(EstimateRecord).values(id=new_id(), job_id=job.id, **values)
    session.execute(statement.on_conflict_do_nothing(index_elements=["job_id"]))


def _read_record(estimate: Mapping[str, Any], phase_seconds: Mapping[str, float]) -> dict[str, Any]:
    modelled, shown = estimate["modelled_seconds"], estimate["duration_seconds"]
    return {
        **Cell(**estimate["group"])._asdict(),
        "modelled_on": estimate["modelled_on"],
        "modelled_setup_seconds": modelled["setup"],
        "modelled_work_seconds": modelled["work"],
        "shown_low_seconds": shown["low"],
        "shown_expected_seconds": shown["expected"],
        "shown_high_seconds": shown["high"],
        "actual_setup_seconds": sum(phase_seconds.get(phase, 0.0) for phase in _SETUP),
        "actual_work_seconds": sum(phase_seconds.get(phase, 0.0) for phase in _WORK),
    }
