"""Datasets: what a job learns from or is measured on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base, Identified


class Dataset(Identified, Base):
    """One version of a dataset, with a folder of its own. `visibility` is `public` or `private`.

    `facts` are what its `tuneforge.json` says, or what was found when it was checked. All versions of a dataset
    share `series_id`, the id of the first.
    """

    __tablename__ = "datasets"

    name: Mapped[str]
    series_id: Mapped[str] = mapped_column(default=lambda context: context.get_current_parameters()["id"])
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    note: Mapped[str | None] = mapped_column(doc="what made this version another than the one before")
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

    __table_args__ = (
        UniqueConstraint("owner_id", "name", "version", postgresql_nulls_not_distinct=True),
        UniqueConstraint("series_id", "version"),
    )
