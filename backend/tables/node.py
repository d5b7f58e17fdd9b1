"""GPU machines, and their tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base, Identified


class Node(Identified, Base):
    """A machine that runs jobs. `status` is `online` or `draining`; lost is derived from `seen_at`."""

    __tablename__ = "nodes"

    name: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(default="online")
    devices: Mapped[list[Any]]
    versions: Mapped[dict[str, Any]] = mapped_column(default=dict)
    seen_at: Mapped[datetime]
    free_bytes: Mapped[int | None] = mapped_column(BigInteger)
