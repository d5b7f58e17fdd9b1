"""Base models: what a job may start from."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from backend.tables.base import Base, Identified
from backend.tables.user import User


class BaseModel(Identified, Base):
    """A model in the home, or one that can be fetched.

    `visibility` is `public` or `private`, `path` relative to TUNEFORGE_HOME; `facts`: its `tuneforge.json` and config.
    """

    __tablename__ = "base_models"

    name: Mapped[str]
    visibility: Mapped[str] = mapped_column(default="public", server_default="public")
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

    owner: Mapped[User | None] = relationship(lazy="joined")

    __table_args__ = (UniqueConstraint("owner_id", "name", postgresql_nulls_not_distinct=True),)
