"""The nodes' door: registration, heartbeats, and all that supervisors say about their attempts."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request

from backend.domain.errors import Conflict, NotSignedIn
from backend.domain.protocol import (
    PROTOCOL_VERSION,
    Claim,
    FinalReport,
    Heartbeat,
    HeartbeatReply,
    LaunchOrder,
    Registration,
    Reply,
    Report,
    Welcome,
)
from backend.services import nodes, reports
from backend.settings import get_settings
from backend.web.deps import DatabaseSession


def require_node_token(request: Request) -> None:
    """Let in only who shows the node token."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(
        token.encode(), get_settings().node_token.encode()
    ):
        raise NotSignedIn("Show the node token: Authorization: Bearer <token>.")


router = APIRouter(prefix="/internal/v1", dependencies=[Depends(require_node_token)], include_in_schema=False)

Lease = Annotated[str, Header(alias="X-Lease-Token", max_length=200)]


@router.post("/nodes/register")
def register(message: Registration, session: DatabaseSession) -> Welcome:
    """Enter a node, and tell it where its doorbell hangs."""
    if message.protocol_version != PROTOCOL_VERSION:
        raise Conflict(
            f"This node speaks protocol {message.protocol_version} and the backend {PROTOCOL_VERSION}; "
            "update the older of the two.",
            code="protocol_mismatch",
        )
    node = nodes.register(session, message)
    settings = get_settings()
    return Welcome(
        node_id=node.id,
        redis_url=settings.redis_url or "",
        queue=nodes.get_queue(node.name),
        heartbeat_seconds=nodes.HEARTBEAT_SECONDS,
        fence_seconds=settings.fence_seconds,
    )


@router.post("/nodes/heartbeat")
def heartbeat(message: Heartbeat, session: DatabaseSession) -> HeartbeatReply:
    """Note that a node lives."""
    return nodes.beat(session, message)


@router.post("/jobs/{job_id}/attempts/{attempt}/claim")
def claim(job_id: str, attempt: int, message: Claim, session: DatabaseSession) -> LaunchOrder:
    """Give an assigned attempt to its supervisor, once."""
    return reports.claim(session, job_id, attempt, message.node, message.supervisor)


@router.post("/jobs/{job_id}/attempts/{attempt}/report")
def report(job_id: str, attempt: int, message: Report, lease: Lease, session: DatabaseSession) -> Reply:
    """Note how an attempt stands."""
    return reports.report(session, job_id, attempt, lease, message)


@router.post("/jobs/{job_id}/attempts/{attempt}/finish")
def finish(job_id: str, attempt: int, message: FinalReport, lease: Lease, session: DatabaseSession) -> Reply:
    """Take the last word about an attempt."""
    return reports.finish(session, job_id, attempt, lease, message)
