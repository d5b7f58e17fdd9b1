"""Uploads: files that arrive in pieces, and where to go on with them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base, Identified


class Upload(Identified, Base):
    """A file on its way. `status` is `receiving` or `complete`; how much is here, the length of its file says."""

    __tablename__ = "uploads"

    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    file_name: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    purpose: Mapped[str] = mapped_column(doc="`dataset` or `file`")
    folder: Mapped[str] = mapped_column(default="", doc="of the files space, where a `file` shall land")
    status: Mapped[str] = mapped_column(default="receiving")
    expires_at: Mapped[datetime] = mapped_column(index=True)
