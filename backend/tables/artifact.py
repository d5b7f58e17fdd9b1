"""Files that finished attempts leave."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base


class Artifact(Base):
    """One file of a job; `name` is relative to the attempt's `output` folder."""

    __tablename__ = "artifacts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
