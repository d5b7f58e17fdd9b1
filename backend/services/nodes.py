"""GPU machines: who is there, with which devices, and which of them are free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend import queue
from backend.domain.audit import Action
from backend.domain.errors import NotFound
from backend.domain.job import ACTIVE, JobStatus
from backend.domain.packages import OPTIONAL_PACKAGES
from backend.domain.protocol import AttemptKey, Calibration, Heartbeat, HeartbeatReply, Probe, Registration
from backend.services import audit, shares
from backend.services.pages import Page, PageWish, read_page
from backend.tables.base import utc_now
from backend.tables.job import Job
from backend.tables.node import Node
from backend.tables.user import User

HEARTBEAT_SECONDS = 3.0
LOST_AFTER_SECONDS = 20.0


def register(session: Session, message: Registration) -> Node:
    """Enter a node, or note that a known one has started again."""
    first_sight = insert(Node).values(name=message.name, devices=[], seen_at=utc_now())
    session.execute(first_sight.on_conflict_do_nothing(index_elements=["name"]))
    node = session.scalars(select(Node).where(Node.name == message.name).with_for_update()).one()
    node.devices = [device.model_dump() for device in message.devices]
    node.versions = dict(message.versions)
    node.address = message.address
    node.seen_at = utc_now()
    session.flush()
    return node


def calibrate(session: Session, message: Calibration) -> None:
    """Keep what a node measured of its devices; kinds not measured this time keep what they had."""
    node = session.scalars(select(Node).where(Node.name == message.name).with_for_update()).first()
    if node is None:
        raise NotFound("This node is not registered; start it once before you calibrate it.")
    kept = {probe["kind"]: probe for probe in node.probes}
    node.probes = list((kept | {probe.kind: probe.model_dump() for probe in message.probes}).values())


def find_probe(session: Session, kind: str) -> Probe | None:
    """Return what was measured of a kind of device: of the slowest node, as any may get the job; None if of none."""
    found = [
        Probe.model_validate(probe)
        for node in list_nodes(session)
        for probe in node.probes
        if probe["kind"] == kind and any(device["kind"] == kind for device in node.devices)
    ]
    return min(found, key=lambda probe: probe.flops_per_second, default=None)


def get_queue(node_name: str) -> str:
    """Return the name of the queue on which a node's doorbell rings."""
    return queue.get_node_queue(node_name)


def beat(session: Session, message: Heartbeat) -> HeartbeatReply:
    """Note that a node lives, and list what is assigned to it."""
    node = session.scalars(select(Node).where(Node.name == message.name)).first()
    if node is None:
        raise NotFound("This node is not registered; register it first.")
    node.devices = [device.model_dump() for device in message.devices]
    # One that is leaving counts as lost at once, so that what it gives back is not assigned to it again.
    node.seen_at = utc_now() - timedelta(seconds=LOST_AFTER_SECONDS + 1 if message.stopping else 0)
    node.free_bytes = message.free_bytes
    assigned = session.execute(
        select(Job.id, Job.attempt).where(Job.node_id == node.id, Job.status == JobStatus.ASSIGNED)
    ).all()
    keys = [AttemptKey(job_id=job_id, attempt=attempt) for job_id, attempt in assigned]
    keys += shares.list_assigned(session, node.id)
    return HeartbeatReply(assigned=keys, heartbeat_seconds=HEARTBEAT_SECONDS)


def get_node(session: Session, node_id: str) -> Node:
    """Return a node by id or name."""
    node = session.scalars(select(Node).where((Node.id == node_id) | (Node.name == node_id))).first()
    if node is None:
        raise NotFound("There is no such node.", zh="没有这个节点。")
    return node


def list_nodes(session: Session) -> Sequence[Node]:
    """Return all nodes by name."""
    return session.scalars(select(Node).order_by(Node.name)).all()


def set_draining(session: Session, administrator: User, node_id: str, draining: bool) -> Node:
    """Let a node take no new jobs, or take them again."""
    node = get_node(session, node_id)
    node.status = "draining" if draining else "online"
    action = Action.NODE_DRAINED if draining else Action.NODE_RETURNED
    audit.record(session, action, administrator, target=(node.id, node.name))
    return node


def derive_status(node: Node, now: datetime) -> str:
    """Return `online`, `draining` or, for one not heard of lately, `lost`."""
    if now - node.seen_at > timedelta(seconds=LOST_AFTER_SECONDS):
        return "lost"
    return node.status


def list_busy_devices(session: Session) -> dict[str, set[str]]:
    """Return the devices in use, by node id."""
    busy: dict[str, set[str]] = {}
    rows = session.execute(select(Job.node_id, Job.devices).where(Job.status.in_(ACTIVE))).all()
    for node_id, devices in rows:
        if node_id:
            busy.setdefault(node_id, set()).update(devices)
    for share in shares.list_held(session):
        busy.setdefault(share.node_id, set()).update(share.devices)
    return busy


def count_free(session: Session, now: datetime) -> Counter[str]:
    """Return by GPU kind how many devices jobs may be given now."""
    busy, free = list_busy_devices(session), Counter[str]()
    for node in list_nodes(session):
        if derive_status(node, now) != "online":
            continue
        taken = busy.get(node.id, set())
        free.update(
            device["kind"]
            for device in node.devices
            if device["uuid"] not in taken and not device.get("trouble")
        )
    return free


def count_devices(session: Session, now: datetime) -> dict[str, dict[str, Any]]:
    """Return by GPU kind how many devices there are and are free, and the least memory among them."""
    free = count_free(session, now)
    kinds: dict[str, dict[str, Any]] = {}
    for node in list_nodes(session):
        if derive_status(node, now) == "lost":
            continue
        for device in node.devices:
            kind = kinds.setdefault(
                device["kind"], {"name": device["name"], "memory_bytes": device["memory_bytes"], "total": 0}
            )
            kind["total"] += 1
            kind["memory_bytes"] = min(kind["memory_bytes"], device["memory_bytes"])
    for kind_id, kind in kinds.items():
        kind["free"] = free[kind_id]
    return kinds


def list_sizes(session: Session) -> dict[str, list[int]]:
    """Return by GPU kind how many of it each registered node has, lost ones included, the largest first."""
    sizes: dict[str, list[int]] = {}
    for node in list_nodes(session):
        for kind, count in Counter(device["kind"] for device in node.devices).items():
            sizes.setdefault(kind, []).append(count)
    return {kind: sorted(counts, reverse=True) for kind, counts in sizes.items()}


def list_lacking(session: Session) -> dict[str, dict[str, str]]:
    """Return by GPU kind the optional packages that a node of the kind has not reported, each with that node's name;
    lost nodes count, as they may come back."""
    lacking: dict[str, dict[str, str]] = {}
    for node in list_nodes(session):
        missing = {package: node.name for package in OPTIONAL_PACKAGES if package not in node.versions}
        for kind in {device["kind"] for device in node.devices}:
            lacking[kind] = missing | lacking.get(kind, {})
    return lacking


def find_host_memory(session: Session, gpu_kind: str) -> int | None:
    """Return the main memory in bytes of the node of the kind that has least, as any may get the job; None where no
    node has told."""
    told = [
        device["host_memory_bytes"]
        for node in list_nodes(session)
        for device in node.devices
        if device["kind"] == gpu_kind and device.get("host_memory_bytes")
    ]
    return min(told, default=None)


def find_name(session: Session, node_id: str | None) -> str | None:
    """Return a node's name."""
    node = session.get(Node, node_id) if node_id else None
    return node.name if node else None


def count_present_devices(session: Session) -> dict[str, dict[str, Any]]:
    """Return `count_devices` as of now."""
    return count_devices(session, utc_now())


def count_online(session: Session) -> int:
    """Return how many nodes are online."""
    now = utc_now()
    return sum(derive_status(node, now) == "online" for node in list_nodes(session))


@dataclass(frozen=True)
class NodeInUse:
    """A node with its status and its devices in use."""

    node: Node
    status: str
    busy: set[str]


def get_with_use(session: Session, node_id: str) -> NodeInUse:
    """Return a node by id or name, with its use."""
    node = get_node(session, node_id)
    return NodeInUse(node, derive_status(node, utc_now()), list_busy_devices(session).get(node.id, set()))


def list_with_use(session: Session, wanted: PageWish) -> Page[NodeInUse]:
    """Return a page of the nodes with their use, the newest first."""
    now, busy = utc_now(), list_busy_devices(session)
    page = read_page(session, select(Node), wanted, Node.id)
    found = [NodeInUse(node, derive_status(node, now), busy.get(node.id, set())) for node in page.rows]
    return Page(found, page.has_more)
