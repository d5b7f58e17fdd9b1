"""Base models: what a job may start from."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base, Identified


class BaseModel(Identified, Base):
    """A model in the home. `path` is relative to TUNEFORGE_HOME; `facts`: its `tuneforge.json` and config."""

    __tablename__ = "base_models"

    name: Mapped[str] = mapped_column(unique=True)
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    source: Mapped[str]
    path: Mapped[str]
    architecture: Mapped[str]
    parameters: Mapped[int] = mapped_column(BigInteger)
    modalities: Mapped[list[str]]
    template: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str]
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)
