"""Answers to creating calls that carried an `Idempotency-Key`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base, utc_now


class IdempotencyKey(Base):
    """The object that a person's call with this key made; another body under the same key is a conflict."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_hash: Mapped[str]
    object_id: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)
