"""Which queued job runs where: a pure function of the queue, the nodes and the present moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

TIER_RANK = {"express": 0, "flex": 1, "spot": 2}


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits, and what it asks for."""

    id: str
    tier: str
    queued_at: datetime
    gpu_kind: str
    gpu_count: int


@dataclass(frozen=True)
class FreeNode:
    """An online node and the ids of its free devices by kind."""

    id: str
    free: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Assignment:
    """Devices of one node for one job."""

    job_id: str
    node_id: str
    devices: tuple[str, ...]


def order_queue(jobs: Sequence[QueuedJob]) -> list[QueuedJob]:
    """Return the queue in the order it is served: by tier, then by age."""
    return sorted(jobs, key=lambda job: (TIER_RANK[job.tier], job.queued_at, job.id))


def plan_assignments(jobs: Sequence[QueuedJob], nodes: Sequence[FreeNode]) -> list[Assignment]:
    """Assign jobs to free devices, each on one node, in the queue's order.

    A job that does not fit holds back every later one of its GPU kind: small jobs never starve a large one.
    The fullest node that fits is taken, so that large gaps stay for large jobs.
    """
    free = {node.id: {kind: list(devices) for kind, devices in node.free.items()} for node in nodes}
    blocked: set[str] = set()
    plan: list[Assignment] = []
    for job in order_queue(jobs):
        if job.gpu_kind in blocked:
            continue
        fitting = [
            (len(kinds[job.gpu_kind]), node_id)
            for node_id, kinds in free.items()
            if len(kinds.get(job.gpu_kind, ())) >= job.gpu_count
        ]
        if not fitting:
            blocked.add(job.gpu_kind)
            continue
        _, node_id = min(fitting)
        devices = free[node_id][job.gpu_kind]
        plan.append(Assignment(job.id, node_id, tuple(devices[: job.gpu_count])))
        del devices[: job.gpu_count]
    return plan
