"""GPU machines, and their tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base, Identified, utc_now


class Node(Identified, Base):
    """A machine that runs jobs. `status` is `online` or `draining`; lost is derived from `seen_at`."""

    __tablename__ = "nodes"

    name: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(default="online")
    devices: Mapped[list[Any]]
    versions: Mapped[dict[str, Any]] = mapped_column(default=dict)
    seen_at: Mapped[datetime]
    free_bytes: Mapped[int | None] = mapped_column(BigInteger)
    address: Mapped[str | None] = mapped_column(doc="at which other nodes reach it")
    probes: Mapped[list[Any]] = mapped_column(
        default=list, server_default="[]", doc="what `tuneforge calibrate` measured, one a kind of device"
    )


class NodeToken(Base):
    """The token by which the one node of this name is let in, known by its hash; issuing another replaces it."""

    __tablename__ = "node_tokens"

    node_name: Mapped[str] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    prefix: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    last_used_at: Mapped[datetime | None]
