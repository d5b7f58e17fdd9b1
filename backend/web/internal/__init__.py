"""The nodes' door: registration, heartbeats, and all that supervisors say about their attempts."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

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
from backend.web.turns import run_in_transaction


async def identify_node(request: Request) -> NodeIdentity:
    """Return which node asks; who shows no good node token is refused."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise NotSignedIn("Show the node token: Authorization: Bearer <token>.")
    if node_access.is_platform_token(token.strip()):
        return NodeIdentity(None)
    return await run_in_transaction("nodes", partial(node_access.identify, token=token.strip()))


KnownNode = Annotated[NodeIdentity, Depends(identify_node, scope="function")]

router = APIRouter(
    prefix="/internal/v1", dependencies=[Depends(identify_node, scope="function")], include_in_schema=False
)

Lease = Annotated[str, Header(alias="X-Lease-Token", max_length=200)]


async def read_report(request: Request) -> Report:
    """Return the report of the body, parsed at once by pydantic: by way of `json` it takes much longer."""
    try:
        return Report.model_validate_json(await request.body())
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


# First, as most requests by far are reports and routes are tried in order.
@router.post("/jobs/{job_id}/attempts/{attempt}/report", response_model=Reply)
async def report(
    job_id: str, attempt: int, lease: Lease, message: Annotated[Report, Depends(read_report)]
) -> Response:
    """Note how an attempt stands."""
    reply = await run_in_transaction(
        "reports", lambda session: reports.report(session, job_id, attempt, lease, message)
    )
    return Response(reply.model_dump_json(), media_type="application/json")


@router.post("/nodes/register")
async def register(message: Registration, known: KnownNode) -> Welcome:
    """Enter a node, and tell it where its doorbell hangs."""
    known.require(message.name)
    if message.protocol_version != PROTOCOL_VERSION:
        raise Conflict(
            f"This node speaks protocol {message.protocol_version} and the backend {PROTOCOL_VERSION}; "
            "update the older of the two.",
            code="protocol_mismatch",
        )
    node_id = await run_in_transaction("nodes", lambda session: nodes.register(session, message).id)
    settings = get_settings()
    return Welcome(
        node_id=node_id,
        redis_url=settings.redis_url or "",
        queue=nodes.get_queue(message.name),
        heartbeat_seconds=nodes.HEARTBEAT_SECONDS,
        fence_seconds=settings.fence_seconds,
    )


@router.post("/nodes/heartbeat")
async def heartbeat(message: Heartbeat, known: KnownNode) -> HeartbeatReply:
    """Note that a node lives."""
    known.require(message.name)
    return await run_in_transaction("nodes", partial(nodes.beat, message=message))


@router.post("/nodes/calibration")
async def calibrate(message: Calibration, known: KnownNode) -> Taken:
    """Keep what a node measured of its devices."""
    known.require(message.name)
    await run_in_transaction("nodes", partial(nodes.calibrate, message=message))
    return Taken()


@router.post("/jobs/{job_id}/attempts/{attempt}/claim")
async def claim(job_id: str, attempt: int, message: Claim, known: KnownNode) -> LaunchOrder:
    """Give an assigned attempt to its supervisor, once."""
    known.require(message.node)
    return await run_in_transaction(
        "nodes", lambda session: reports.claim(session, job_id, attempt, message.node, message.supervisor)
    )


@router.post("/jobs/{job_id}/attempts/{attempt}/finish")
async def finish(job_id: str, attempt: int, message: FinalReport, lease: Lease) -> Reply:
    """Take the last word about an attempt."""
    return await run_in_transaction(
        "nodes", lambda session: reports.finish(session, job_id, attempt, lease, message)
    )


# -- further nodes of a job over several -----------------------------------------------------------------------

NodeRank = Annotated[int, Path(ge=1, lt=MAX_NODES)]
_SHARE = "/jobs/{job_id}/attempts/{attempt}/nodes/{node_rank}"


@router.post(f"{_SHARE}/claim")
async def claim_share(
    job_id: str, attempt: int, node_rank: NodeRank, message: Claim, known: KnownNode
) -> LaunchOrder:
    """Give a further node's part of an assigned attempt to its supervisor, once."""
    known.require(message.node)
    return await run_in_transaction(
        "nodes",
        lambda session: shares.claim(session, job_id, attempt, node_rank, message.node, message.supervisor),
    )


@router.post(f"{_SHARE}/report")
async def report_share(
    job_id: str, attempt: int, node_rank: NodeRank, message: Report, lease: Lease
) -> Reply:
    """Note that a further node works on."""
    return await run_in_transaction(
        "reports", lambda session: reports.report_share(session, job_id, attempt, node_rank, lease, message)
    )


@router.post(f"{_SHARE}/finish")
async def finish_share(
    job_id: str, attempt: int, node_rank: NodeRank, message: FinalReport, lease: Lease
) -> Reply:
    """Take a further node's last word about an attempt."""
    return await run_in_transaction(
        "nodes", lambda session: shares.finish(session, job_id, attempt, node_rank, lease, message)
    )
