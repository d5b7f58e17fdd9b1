"""What only administrators see: nodes, users and everybody's jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field

from backend.domain.spec import Body
from backend.services import jobs, node_access, nodes, spaces, users
from backend.services.jobs import JobFilter
from backend.tables.node import NodeToken
from backend.tables.user import User
from backend.web.api import shapes
from backend.web.api.paging import Paging, show_page
from backend.web.deps import Administrator, DatabaseSession

router = APIRouter(prefix="/admin", tags=["admin"])


@router.get("/nodes")
def list_nodes(user: Administrator, session: DatabaseSession, paging: Paging) -> dict[str, Any]:
    """Return all nodes with their devices."""
    return show_page(nodes.list_with_use(session, paging), shapes.show_node)


class NodeChange(Body):
    """A draining node takes no new jobs."""

    status: Literal["online", "draining"]


@router.patch("/nodes/{node_id}")
def change_node(
    node_id: Annotated[str, Path(max_length=80)],
    body: NodeChange,
    user: Administrator,
    session: DatabaseSession,
) -> dict[str, Any]:
    """Drain a node, or return it."""
    nodes.set_draining(session, user, node_id, body.status == "draining")
    return shapes.show_node(nodes.get_with_use(session, node_id))


NodeName = Annotated[str, Path(max_length=80)]


@router.get("/node-tokens")
def list_node_tokens(user: Administrator, session: DatabaseSession, paging: Paging) -> dict[str, Any]:
    """Return for which nodes tokens were issued, without their texts."""
    return show_page(node_access.list_tokens(session, paging), _show_node_token, "node")


@router.put("/node-tokens/{node_name}")
def issue_node_token(node_name: NodeName, user: Administrator, session: DatabaseSession) -> dict[str, Any]:
    """Issue a node's token, or replace it; its text is in this answer and never again."""
    token, text = node_access.issue_token(session, user, node_name)
    return _show_node_token(token) | {"token": text}


@router.delete("/node-tokens/{node_name}", status_code=204)
def revoke_node_token(node_name: NodeName, user: Administrator, session: DatabaseSession) -> None:
    """Shut a node out."""
    node_access.revoke_token(session, user, node_name)


def _show_node_token(token: NodeToken) -> dict[str, Any]:
    return {
        "node": token.node_name,
        "prefix": token.prefix,
        "created_at": shapes.show_time(token.created_at),
        "last_used_at": shapes.show_time(token.last_used_at),
    }


@router.get("/users")
def list_users(user: Administrator, session: DatabaseSession, paging: Paging) -> dict[str, Any]:
    """Return all users."""
    return show_page(users.list_users(session, paging), _show_user)


class UserChange(Body):
    """What of a person to change.

    `is_active` says whether they may sign in and use their tokens; who is shut out keeps their jobs.
    `share_weight` is their share of the GPUs against others', 1 unless changed. `storage_quota_bytes` is how much they
    may store; null gives back what the setting says.
    """

    is_active: bool | None = None
    share_weight: float | None = Field(default=None, ge=0.1, le=10)
    storage_quota_bytes: int | None = Field(default=None, ge=0, le=2**53)


@router.patch("/users/{user_id}")
def change_user(
    user_id: Annotated[str, Path(max_length=40)],
    body: UserChange,
    user: Administrator,
    session: DatabaseSession,
) -> dict[str, Any]:
    """Shut a person out, let them in again, or change their share of the GPUs or of the disk."""
    changed = users.change_user(
        session, user, user_id, is_active=body.is_active, share_weight=body.share_weight
    )
    if "storage_quota_bytes" in body.model_fields_set:
        spaces.set_quota(session, user, changed, body.storage_quota_bytes)
    return _show_user(changed)


def _show_user(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "username": user.username,
        "role": user.role,
        "is_active": user.is_active,
        "share_weight": user.share_weight,
        "storage_quota_bytes": user.storage_quota_bytes,
        "created_at": shapes.show_time(user.created_at),
    }


@router.get("/jobs")
def list_jobs(
    user: Administrator,
    session: DatabaseSession,
    kind: Annotated[str | None, Query(max_length=20)] = None,
    status: Annotated[str | None, Query(max_length=100)] = None,
    q: Annotated[str | None, Query(max_length=200)] = None,
    after: Annotated[str | None, Query(max_length=40)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    """Return everybody's jobs, newest first."""
    wanted = JobFilter(kind, tuple(status.split(",")) if status else (), q, owned_only=False)
    found, has_more = jobs.list_jobs(session, user, wanted, after=after, limit=limit)
    return {
        "data": [shapes.show_job(job, node_name=nodes.find_name(session, job.node_id)) for job in found],
        "has_more": has_more,
        "next": found[-1].id if has_more else None,
        "counts": jobs.count_jobs(session, user, wanted),
    }
