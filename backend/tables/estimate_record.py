"""Estimates beside what jobs took: what later estimates learn from."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base, Identified


class EstimateRecord(Identified, Base):
    """A job that succeeded in one go: its group, the uncorrected model's seconds, the range shown, and the truth.

    It stays when the job is deleted; what it holds names nobody.
    """

    __tablename__ = "estimate_records"

    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), unique=True)
    gpu_kind: Mapped[str]
    stage: Mapped[str]
    family: Mapped[str]
    finetuning_type: Mapped[str]
    modelled_on: Mapped[str | None] = mapped_column(
        doc="fingerprint of the measured figures of the device, null for published ones"
    )
    modelled_setup_seconds: Mapped[float]
    modelled_work_seconds: Mapped[float]
    shown_low_seconds: Mapped[float]
    shown_expected_seconds: Mapped[float]
    shown_high_seconds: Mapped[float]
    actual_setup_seconds: Mapped[float]
    actual_work_seconds: Mapped[float]

    __table_args__ = (Index("ix_estimate_records_gpu_kind_id", "gpu_kind", "id"),)
