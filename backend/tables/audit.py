"""Who changed what: rows that outlive what they speak of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base, Identified


class AuditEntry(Identified, Base):
    """One change. Ids and names are copies, not references: account, job and node may be gone by now."""

    __tablename__ = "audit_entries"

    action: Mapped[str] = mapped_column(doc="a code of domain.audit.Action")
    actor_id: Mapped[str | None]
    actor_name: Mapped[str | None] = mapped_column(doc="None: somebody at the machine, or a name nobody has")
    target_id: Mapped[str | None]
    target_name: Mapped[str | None]
    address: Mapped[str | None] = mapped_column(doc="from where, as the web process saw it")
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict, doc="never a secret")

    __table_args__ = (
        Index("ix_audit_entries_actor_id_id", "actor_id", "id"),
        Index("ix_audit_entries_action_id", "action", "id"),
        Index("ix_audit_entries_created_at", "created_at"),
    )
