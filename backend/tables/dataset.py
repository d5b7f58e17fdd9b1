"""Datasets: what a job learns from or is measured on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base, Identified


class Dataset(Identified, Base):
    """A dataset in the home. `visibility` is `public` or `private`; `facts` are its `tuneforge.json`."""

    __tablename__ = "datasets"

    name: Mapped[str]
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    visibility: Mapped[str]
    path: Mapped[str]
    format: Mapped[str]
    modalities: Mapped[list[str]]
    example_count: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str]
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)

    __table_args__ = (UniqueConstraint("owner_id", "name", postgresql_nulls_not_distinct=True),)
