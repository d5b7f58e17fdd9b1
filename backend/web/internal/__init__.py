"""The nodes' door: registration, heartbeats, and all that supervisors say about their attempts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request

from backend.domain.errors import Conflict, NotSignedIn
from backend.domain.job import MAX_NODES
from backend.domain.protocol import (
    PROTOCOL_VERSION,
    Calibration,
    Claim,
    FinalReport,
    Heartbeat,
    HeartbeatReply,
    LaunchOrder,
    Registration,
    Reply,
    Report,
    Taken,
    Welcome,
)
from backend.services import node_access, nodes, reports, shares
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


@router.post("/nodes/calibration")
def calibrate(message: Calibration, known: KnownNode, session: DatabaseSession) -> Taken:
    """Keep what a node measured of its devices."""
    known.require(message.name)
    nodes.calibrate(session, message)
    return Taken()


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


# -- further nodes of a job over several -----------------------------------------------------------------------

NodeRank = Annotated[int, Path(ge=1, lt=MAX_NODES)]
_SHARE = "/jobs/{job_id}/attempts/{attempt}/nodes/{node_rank}"


@router.post(f"{_SHARE}/claim")
def claim_share(
    job_id: str,
    attempt: int,
    node_rank: NodeRank,
    message: Claim,
    known: KnownNode,
    session: DatabaseSession,
) -> LaunchOrder:
    """Give a further node's part of an assigned attempt to its supervisor, once."""
    known.require(message.node)
    return shares.claim(session, job_id, attempt, node_rank, message.node, message.supervisor)


@router.post(f"{_SHARE}/report")
def report_share(
    job_id: str, attempt: int, node_rank: NodeRank, message: Report, lease: Lease, session: DatabaseSession
) -> Reply:
    """Note that a further node works on."""
    return reports.report_share(session, job_id, attempt, node_rank, lease, message)


@router.post(f"{_SHARE}/finish")
def finish_share(
    job_id: str,
    attempt: int,
    node_rank: NodeRank,
    message: FinalReport,
    lease: Lease,
    session: DatabaseSession,
) -> Reply:
    """Take a further node's last word about an attempt."""
    return shares.finish(session, job_id, attempt, node_rank, lease, message)
