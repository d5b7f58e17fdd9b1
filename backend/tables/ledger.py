"""What was charged: once per attempt."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base, Identified


class LedgerEntry(Identified, Base):
    """One charge, in ten-thousandths of the currency unit; the pair (job, attempt) keeps it single."""

    __tablename__ = "ledger_entries"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[str | None] = mapped_column(
        doc="stays when the job is deleted; None where that was before revision 0008"
    )
    attempt: Mapped[int]
    amount_e4: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    device_seconds: Mapped[float]
    tier: Mapped[str | None] = mapped_column(
        doc="kept here too, so that use is known when the job is deleted"
    )
    gpu_kind: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("job_id", "attempt"),
        Index("ix_ledger_entries_created_at", "created_at"),
    )
