"""Jobs, what happened to them, and what they measured."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from backend.tables.base import Base, Identified, utc_now
from backend.tables.user import User


class Job(Identified, Base):
    """A job: what was asked (`spec`, frozen), where it stands, and its present attempt.

    `attempt` only fences; `faults` counts infrastructure failures. Only `services/moves.py` writes `status`.
    """

    __tablename__ = "jobs"

    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    kind: Mapped[str]
    status: Mapped[str]
    end_reason: Mapped[str | None]
    tier: Mapped[str]
    spec: Mapped[dict[str, Any]]
    config_yaml: Mapped[str]
    launch: Mapped[dict[str, Any]] = mapped_column(doc="paths and dataset entries, frozen at submission")
    estimate: Mapped[dict[str, Any]]

    gpu_kind: Mapped[str]
    gpu_count: Mapped[int]
    max_nodes: Mapped[int] = mapped_column(
        default=1, server_default="1", doc="over how many nodes it may be spread"
    )
    attempt: Mapped[int] = mapped_column(default=1)
    faults: Mapped[int] = mapped_column(default=0)
    node_id: Mapped[str | None] = mapped_column(ForeignKey("nodes.id"), index=True)
    devices: Mapped[list[str]] = mapped_column(default=list)
    master_port: Mapped[int | None] = mapped_column(doc="where rank 0 gathers the processes of several nodes")
    lease_hash: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    assigned_at: Mapped[datetime | None]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    attempt_started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    stop_requested_at: Mapped[datetime | None]
    preempt_requested_at: Mapped[datetime | None] = mapped_column(
        doc="when the present attempt was asked to make room"
    )

    phase: Mapped[str] = mapped_column(default="queued")
    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int | None]
    eta_seconds: Mapped[float | None]
    log_bytes: Mapped[int] = mapped_column(BigInteger, default=0, doc="of the present attempt")
    tracking_mode: Mapped[str] = mapped_column(default="off")
    tracking_url: Mapped[str | None]
    checkpoint_step: Mapped[int | None]
    error: Mapped[dict[str, Any] | None]
    results: Mapped[dict[str, Any]] = mapped_column(default=dict)
    actual: Mapped[dict[str, Any]] = mapped_column(
        default=dict, doc="measured seconds and memory, beside the estimate"
    )
    cost_e4: Mapped[int] = mapped_column(BigInteger, default=0)

    owner: Mapped[User] = relationship()

    __table_args__ = (
        Index(
            "ix_jobs_unfinished", "status", postgresql_where=text("status IN ('queued','assigned','running')")
        ),
        Index("ix_jobs_owner_id_id", "owner_id", "id"),
        CheckConstraint("gpu_count >= 1", name="gpu_count_positive"),
        CheckConstraint("(status = 'running') = (lease_hash IS NOT NULL)", name="running_has_lease"),
    )


class JobShare(Base):
    """What one attempt of a job holds on a further node, rank 1 and up; rank 0's share is in the job's own row.

    It outlives its attempt until the node has given the devices back, or cannot be using them any more.
    """

    __tablename__ = "job_shares"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    node_rank: Mapped[int] = mapped_column(primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id"), index=True)
    devices: Mapped[list[str]]
    lease_hash: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None] = mapped_column(doc="when the node had nothing of it left running")
    end_reason: Mapped[str | None]
    detail: Mapped[str] = mapped_column(default="")
    log_excerpt: Mapped[str] = mapped_column(default="")


class JobEvent(Identified, Base):
    """One move of a job."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    old: Mapped[str | None]
    new: Mapped[str]
    reason: Mapped[str | None]
    attempt: Mapped[int]


class MetricRow(Base):
    """One metric point. A later attempt's point of the same step replaces an earlier one's in the curve."""

    __tablename__ = "metric_points"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    epoch: Mapped[float | None]
    loss: Mapped[float | None]
    eval_loss: Mapped[float | None]
    learning_rate: Mapped[float | None]
    grad_norm: Mapped[float | None]
    tokens_per_second: Mapped[float | None]
    at: Mapped[datetime]
    noted_at: Mapped[datetime] = mapped_column(
        default=utc_now, doc="when it reached us: what streams resume by"
    )

    __table_args__ = (Index("ix_metric_points_noted", "job_id", "noted_at"),)


class GpuSample(Base):
    """How one device of a job stood at one moment."""

    __tablename__ = "gpu_samples"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)
    utilization: Mapped[float | None]
    memory_used_bytes: Mapped[int | None] = mapped_column(BigInteger)
    power_watts: Mapped[float | None]
