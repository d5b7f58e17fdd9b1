"""People, their sessions and API tokens, their SwanLab key, and failed log-ins."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from backend.tables.base import Base, Identified, utc_now


class User(Identified, Base):
    """A person. `role` is `user` or `administrator`."""

    __tablename__ = "users"

    username: Mapped[str]
    username_key: Mapped[str] = mapped_column(unique=True, doc="case-folded, so that Ann and ann are one")
    password_hash: Mapped[str]
    role: Mapped[str] = mapped_column(default="user")
    is_active: Mapped[bool] = mapped_column(default=True)
    language: Mapped[str | None]
    balance_e4: Mapped[int] = mapped_column(BigInteger, default=0)
    storage_quota_bytes: Mapped[int | None] = mapped_column(
        BigInteger, doc="of uploads, datasets and files together; None: what the setting says"
    )
    share_weight: Mapped[float] = mapped_column(
        default=1.0, server_default="1", doc="of the GPUs, against other users' weights"
    )

    swanlab: Mapped[SwanlabAccess | None] = relationship(back_populates="user", cascade="all, delete-orphan")


class SwanlabAccess(Base):
    """A person's SwanLab key, sealed; `status` as `PUT /me/swanlab` answers it."""

    __tablename__ = "swanlab_access"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    sealed_key: Mapped[str]
    masked_key: Mapped[str]
    status: Mapped[str]
    host: Mapped[str]
    web_host: Mapped[str]
    workspace: Mapped[str | None]
    username: Mapped[str | None]
    checked_at: Mapped[datetime]

    user: Mapped[User] = relationship(back_populates="swanlab")


class Session(Base):
    """A browser's session, known by the hash of its cookie."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(String, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    csrf_token: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime] = mapped_column(index=True)

    user: Mapped[User] = relationship()


class ApiToken(Identified, Base):
    """An API token, known by its hash; `prefix` lets a person tell theirs apart."""

    __tablename__ = "api_tokens"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    token_hash: Mapped[str] = mapped_column(unique=True)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()
    __table_args__ = (UniqueConstraint("user_id", "name"),)


class FailedLogin(Identified, Base):
    """One failed log-in, by account and by address: what throttling counts."""

    __tablename__ = "failed_logins"

    username_key: Mapped[str]
    address: Mapped[str]

    __table_args__ = (
        Index("ix_failed_logins_username", "username_key", "created_at"),
        Index("ix_failed_logins_address", "address", "created_at"),
    )
