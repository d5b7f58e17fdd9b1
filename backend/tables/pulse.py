"""Since when the web process has answered without a gap."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base


class Pulse(Base):
    """The one row that every web process renews; `since` moves when it was not renewed for too long."""

    __tablename__ = "pulses"

    name: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    renewed_at: Mapped[datetime]
