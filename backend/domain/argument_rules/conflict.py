"""What rules judge, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """What a job's arguments are judged by.

    `args` are complete: LLaMA-Factory's defaults, ours over them, and over those what was asked for, of which
    `given` holds the names. `device` is `cpu` or `cuda`; `lacking` are the packages that a node of the GPU kind
    lacks, each with that node's name. `description` is `arguments.json`.
    """

    args: Mapping[str, Any]
    given: frozenset[str]
    kind: str
    finetuning_type: str
    gpu_count: int
    template: str | None
    dataset_count: int | None
    device: str
    lacking: Mapping[str, str]
    description: Mapping[str, Any]


@dataclass(frozen=True)
class Conflict:
    """Arguments that cannot stand together, the one to change first, and what to do in two languages."""

    names: tuple[str, ...]
    msg: str
    msg_zh: str
