"""What administrators look back on: how much was used, and who changed what."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from backend.domain.audit import Action
from backend.domain.pricing import format_money
from backend.domain.spec import Moment
from backend.services import audit, billing, usage
from backend.services.audit import AuditFilter
from backend.services.usage import Amount, GroupBy, Usage
from backend.tables.audit import AuditEntry
from backend.web.api import shapes
from backend.web.api.paging import Paging, cut_page, show_page
from backend.web.deps import Administrator, DatabaseSession

router = APIRouter(prefix="/admin", tags=["admin"])


@router.get("/usage")
def list_usage(
    user: Administrator,
    session: DatabaseSession,
    paging: Paging,
    group_by: GroupBy = "user",
    created_after: Moment | None = None,
    created_before: Moment | None = None,
) -> dict[str, Any]:
    """Return device time and cost by group; `running` is the part of attempts that still run, charged so far."""
    found = usage.list_usage(session, group_by, created_after, created_before)
    page = cut_page([_show_usage(group) for group in found], paging)
    return show_page(page, dict) | {"group_by": group_by}


def _show_usage(group: Usage) -> dict[str, Any]:
    shown = {"id": group.id, "name": group.name}
    return shown | _show_amount(group.total) | {"running": _show_amount(group.running)}


def _show_amount(amount: Amount) -> dict[str, Any]:
    return {
        "device_seconds": amount.device_seconds,
        "cost": format_money(amount.cost_e4, billing.get_currency()),
        "jobs": amount.jobs,
        "attempts": amount.attempts,
    }


@router.get("/audit")
def list_audit(
    administrator: Administrator,
    session: DatabaseSession,
    paging: Paging,
    user: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
    action: Action | None = None,
    created_after: Moment | None = None,
    created_before: Moment | None = None,
) -> dict[str, Any]:
    """Return who changed what, newest first; `user` is the id or name of who did it."""
    wanted = AuditFilter(user, action, created_after, created_before)
    return show_page(audit.list_entries(session, wanted, paging), _show_entry)


def _show_entry(entry: AuditEntry) -> dict[str, Any]:
    target = {"id": entry.target_id, "name": entry.target_name} if entry.target_id else None
    return {
        "id": entry.id,
        "at": shapes.show_time(entry.created_at),
        "action": entry.action,
        "actor": {"id": entry.actor_id, "username": entry.actor_name} if entry.actor_id else None,
        "target": target,
        "address": entry.address,
        "detail": entry.detail,
    }
