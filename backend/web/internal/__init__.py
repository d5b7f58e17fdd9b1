"""The nodes' door: registration, heartbeats, and all that supervisors say about their attempts."""

from __future__ import annotations

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
from backend.services import node_access, nodes, reports
from backend.services.node_access import NodeIdentity
from backend.settings import get_settings
from backend.web.deps import DatabaseSession


def identify_node(request: Request, session: DatabaseSession) -> NodeIdentity:
    """Return which node asks; who shows no good node token is refused."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise NotSignedIn("Show the node token: Authorization: Bearer <token>.")
    return node_access.identify(session, token.strip())


KnownNode = Annotated[NodeIdentity, Depends(identify_node, scope="function")]

router = APIRouter(
    prefix="/internal/v1", dependencies=[Depends(identify_node, scope="function")], include_in_schema=False
)

Lease = Annotated[str, Header(alias="X-Lease-Token", max_length=200)]


@router.post("/nodes/register")
def register(message: Registration, known: KnownNode, session: DatabaseSession) -> Welcome:
    """Enter a node, and tell it where its doorbell hangs."""
    known.require(message.name)
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
def heartbeat(message: Heartbeat, known: KnownNode, session: DatabaseSession) -> HeartbeatReply:
    """Note that a node lives."""
    known.require(message.name)
    return nodes.beat(session, message)


@router.post("/jobs/{job_id}/attempts/{attempt}/claim")
def claim(
    job_id: str, attempt: int, message: Claim, known: KnownNode, session: DatabaseSession
) -> LaunchOrder:
    """Give an assigned attempt to its supervisor, once."""
    known.require(message.node)
    return reports.claim(session, job_id, attempt, message.node, message.supervisor)


@router.post("/jobs/{job_id}/attempts/{attempt}/report")
def report(job_id: str, attempt: int, message: Report, lease: Lease, session: DatabaseSession) -> Reply:
    """Note how an attempt stands."""
    return reports.report(session, job_id, attempt, lease, message)


@router.post("/jobs/{job_id}/attempts/{attempt}/finish")
def finish(job_id: str, attempt: int, message: FinalReport, lease: Lease, session: DatabaseSession) -> Reply:
    """Take the last word about an attempt."""
    return reports.finish(session, job_id, attempt, lease, message)
