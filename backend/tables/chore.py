"""Chores: long work on datasets and models that the librarian does, outside of any request."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base, Identified


class Chore(Identified, Base):
    """One piece of work. `status` is queued, running, done, failed or cancelled; the first two are open.

    `claim` names the process that does it: who does not know it may not write a word about the chore any more.
    """

    __tablename__ = "chores"

    kind: Mapped[str]
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    subject_id: Mapped[str] = mapped_column(doc="the dataset or model it is about; it may be gone by now")
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    status: Mapped[str] = mapped_column(default="queued")
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[dict[str, Any] | None]
    attempt: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0, doc="how often its process died by itself")
    claim: Mapped[str | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_chores_subject_id", "subject_id", "id"),
        Index(
            "uq_chores_open",
            "kind",
            "subject_id",
            unique=True,
            postgresql_where=text("status IN ('queued', 'running')"),
        ),
    )
