"""A whole train run with given settings: its steps, the seconds of its phases, and the memory of one device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from backend.domain.estimate.batch import Batch, build_batches
from backend.domain.estimate.dataset_facts import DatasetFacts
from backend.domain.estimate.memory import Memory, estimate_memory
from backend.domain.estimate.phases import Steps, count_steps, estimate_train_phases
from backend.domain.estimate.run_settings import RunSettings
from backend.domain.estimate.speed import estimate_step


@dataclass(frozen=True)
class TrainRun:
    """What a run goes through (`steps`) and its seconds by phase."""

    run: RunSettings
    steps: Steps
    phases: dict[str, float]
    largest: Batch

    @cached_property
    def memory(self) -> Memory:
        """The peak memory of one device, reckoned when it is asked for."""
        return estimate_memory(self.run, self.largest)


def estimate_train_run(run: RunSettings, args: Mapping[str, Any], data: DatasetFacts) -> TrainRun:
    """Return the estimate of a train run; `args` are LLaMA-Factory's, complete with the platform's defaults."""
    usual, largest = build_batches(run, data)
    steps = count_steps(run, args, data)
    phases = estimate_train_phases(run, args, data, usual, steps, estimate_step(run, usual))
    return TrainRun(run, steps, phases, largest)
