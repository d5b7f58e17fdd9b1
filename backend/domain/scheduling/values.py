"""What the scheduler is told, and what it decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

TIERS = ("express", "flex", "spot")
"""Best first: a job of an earlier tier is always served before one of a later tier."""


UNKNOWN_SECONDS = 3600.0
"""How long a job of unknown duration is taken to run, or to go on, when the start of others is foreseen."""


class Account(NamedTuple):
    """Whose use is counted together: one user in one tier on one kind of GPU."""

    user: str
    tier: str
    gpu_kind: str


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job that waits.

    `expected_seconds` is how long it will hold its GPUs; None where nobody knows. `max_nodes` is over how many
    nodes it may be spread; None is as many as the rules allow.
    """

    id: str
    user: str
    tier: str
    gpu_kind: str
    gpu_count: int
    queued_at: datetime
    expected_seconds: float | None = None
    max_nodes: int | None = None


class NodeShare(NamedTuple):
    """Devices of one node."""

    node_id: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that holds devices. `is_stopping` says that it was told to stop and will soon give them back."""

    id: str
    user: str
    tier: str
    gpu_kind: str
    shares: tuple[NodeShare, ...]
    started_at: datetime
    expected_end_at: datetime | None = None
    is_stopping: bool = False

    @property
    def gpu_count(self) -> int:
        """How many devices it holds."""
        return sum(len(share.devices) for share in self.shares)


@dataclass(frozen=True, slots=True)
class Node:
    """A machine: its devices by kind, busy ones included.

    Jobs go only to nodes that are `is_open` (online and not draining), and never to `unusable` devices (those
    with foreign processes or memory errors).
    """

    id: str
    devices: Mapping[str, Sequence[str]]
    is_open: bool = True
    unusable: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rules:
    """What an administrator may set.

    `quotas` limits how many GPUs a user holds at once in a tier (a tier that is absent has no limit).
    `weights` are the users' shares against one another, 1 by default. `max_nodes` is over how many nodes one
    job may be spread.
    """

    quotas: Mapping[str, int] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    max_nodes: int = 64


class Assignment(NamedTuple):
    """Devices for a job that starts now, the same number on each node."""

    job_id: str
    shares: tuple[NodeShare, ...]


class Preemption(NamedTuple):
    """A running job that shall make room for a waiting one."""

    job_id: str
    for_job_id: str


class Reservation(NamedTuple):
    """Where and when a job that cannot start now will: nobody may take this room beyond that moment."""

    job_id: str
    starts_in_seconds: float
    node_ids: tuple[str, ...]
    gpus_per_node: int


class Waiting(NamedTuple):
    """Why a job waits (a code of `waiting.REASONS` and what its sentence needs) and until when.

    `position` counts from 1 in the queue of the job's GPU kind. `starts_in_seconds` supposes that nobody comes
    later with a better claim; None where no start can be foreseen.
    """

    position: int
    reason: str
    params: Mapping[str, int]
    starts_in_seconds: float | None


@dataclass(frozen=True)
class Plan:
    """All that is decided at one moment; what waits is keyed by job id."""

    assignments: list[Assignment] = field(default_factory=list)
    preemptions: list[Preemption] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    waiting: dict[str, Waiting] = field(default_factory=dict)
