"""What a report leaves in the tables: one update of the job, and one insert each of its points and samples.

Hundreds of reports come each second, so the statements are built once, and their texts are compiled once.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Float,
    Integer,
    Table,
    Text,
    any_,
    bindparam,
    case,
    cast,
    column,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, Insert, insert
from sqlalchemy.orm import Session

from backend.domain.job import JobStatus
from backend.domain.protocol import Report
from backend.tables.job import GpuSample, Job, MetricRow

SAMPLE_SECONDS = 5.0

_VALUES = ("epoch", "loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second")


def _get_table(row: type[Job] | type[MetricRow] | type[GpuSample]) -> Table:
    table = row.__table__
    assert isinstance(table, Table)
    return table


_jobs, _points, _samples = _get_table(Job), _get_table(MetricRow), _get_table(GpuSample)


# -- the job -----------------------------------------------------------------------------------------------

_STANDING = (
    update(_jobs)
    .where(
        _jobs.c.id == bindparam("of_job"),
        _jobs.c.status == JobStatus.RUNNING.value,
        _jobs.c.attempt == bindparam("of_attempt"),
        _jobs.c.lease_hash == bindparam("of_lease"),
    )
    .values(
        phase=bindparam("phase"),
        step=bindparam("step"),
        total_steps=func.coalesce(bindparam("total_steps", type_=Integer), _jobs.c.total_steps),
        eta_seconds=bindparam("eta_seconds"),
        log_bytes=bindparam("log_bytes"),
        tracking_mode=func.coalesce(bindparam("tracking_mode", type_=Text), _jobs.c.tracking_mode),
        tracking_url=func.coalesce(bindparam("tracking_url", type_=Text), _jobs.c.tracking_url),
        actual=_jobs.c.actual.op("||")(bindparam("measured", type_=JSONB)),
        lease_expires_at=bindparam("lease_expires_at"),
    )
    .returning(_jobs.c.stop_requested_at, _jobs.c.preempt_requested_at, _jobs.c.max_nodes)
)


class Standing(NamedTuple):
    """What a report is answered by: when its job was asked to stop, when to make room, and its most nodes."""

    stop_requested_at: datetime | None
    preempt_requested_at: datetime | None
    max_nodes: int


def note_standing(
    session: Session, job_id: str, attempt: int, lease_hash: str, message: Report, lease_expires_at: datetime
) -> Standing | None:
    """Note how an attempt stands and extend its lease; None, and nothing is changed, where the lease is not its own."""
    memory = message.peak_memory_bytes
    values = {
        "of_job": job_id,
        "of_attempt": attempt,
        "of_lease": lease_hash,
        "lease_expires_at": lease_expires_at,
        "phase": message.phase.value,
        "step": message.step,
        "total_steps": message.total_steps,
        "eta_seconds": message.eta_seconds,
        "log_bytes": message.log_bytes,
        "tracking_mode": message.tracking_mode,
        "tracking_url": message.tracking_url or None,
        "measured": {} if memory is None else {"peak_memory_bytes": memory},
    }
    row = session.connection().execute(_STANDING, values).first()
    return None if row is None else Standing(*row)


# -- metric points -----------------------------------------------------------------------------------------


def _build_points_insert() -> Insert:
    """Points of one attempt, given as a JSON array.

    The step decides, and a later value fills or replaces; a later attempt's point replaces the whole of an earlier
    attempt's. A point sent again unchanged is not noted anew, so that streams do not show it twice.
    """
    sent = func.jsonb_to_recordset(cast(bindparam("points"), JSONB)).table_valued(
        column("step", Integer),
        column("at", DateTime(timezone=True)),
        *(column(name, Float) for name in _VALUES),
        name="sent",
    )
    rows = select(
        bindparam("job_id", type_=Text),
        bindparam("attempt", type_=Integer),
        bindparam("noted_at", type_=DateTime(timezone=True)),
        *sent.render_derived(with_types=True).c,
    )
    statement = insert(_points).from_select(
        ["job_id", "attempt", "noted_at", "step", "at", *_VALUES], rows, include_defaults=False
    )
    new, is_replaced = statement.excluded, statement.excluded.attempt != _points.c.attempt
    kept = {
        name: case((is_replaced, new[name]), else_=func.coalesce(new[name], _points.c[name]))
        for name in _VALUES
    }
    return statement.on_conflict_do_update(
        index_elements=["job_id", "step"],
        set_=kept | {name: new[name] for name in ("attempt", "at", "noted_at")},
        where=_differs(statement),
    )


def _differs(statement: Insert) -> ColumnElement[bool]:
    new = statement.excluded
    changed = [new[name].is_not(None) & new[name].is_distinct_from(_points.c[name]) for name in _VALUES]
    return or_(new.attempt != _points.c.attempt, *changed)


_POINTS = _build_points_insert()


def store_points(session: Session, job_id: str, attempt: int, message: Report, now: datetime) -> None:
    """Store the points of a report, which may come again or in pieces."""
    merged: dict[int, dict[str, Any]] = {}
    for point in message.points:
        values = point.model_dump(mode="json", exclude_none=True)
        merged[point.step] = merged.get(point.step, {}) | values
    if merged:
        text = json.dumps([merged[step] for step in sorted(merged)])
        values = {"job_id": job_id, "attempt": attempt, "noted_at": now, "points": text}
        session.connection().execute(_POINTS, values)


# -- device samples ----------------------------------------------------------------------------------------

_LAST_SAMPLE = select(func.max(_samples.c.at)).where(
    _samples.c.job_id == bindparam("of_job"),
    # Nodes of one job report apart.
    _samples.c.device == any_(bindparam("devices", type_=ARRAY(Text))),
)
_SAMPLES = insert(_samples).on_conflict_do_nothing()


def store_samples(session: Session, job_id: str, message: Report, now: datetime) -> None:
    """Store how the devices stand, at most every `SAMPLE_SECONDS`: a long job would else leave millions of samples."""
    if not message.devices:
        return
    which = {"of_job": job_id, "devices": [device.uuid for device in message.devices]}
    last = session.connection().execute(_LAST_SAMPLE, which).scalar()
    if last is not None and now - last < timedelta(seconds=SAMPLE_SECONDS):
        return
    rows = [
        {
            "job_id": job_id,
            "at": now,
            "device": device.uuid,
            "utilization": device.utilization,
            "memory_used_bytes": device.memory_used_bytes,
            "power_watts": device.power_watts,
        }
        for device in message.devices
    ]
    session.connection().execute(_SAMPLES, rows)
