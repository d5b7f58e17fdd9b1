"""Which arguments cannot stand together: LLaMA-Factory's rules, transformers', and what only crashes later.

The first two are those of LLaMA-Factory 0.9.5's `hparams` and transformers 5.5.4's `TrainingArguments`. The
third were found by running it; each says so. `tests/domain/test_arguments.py` asks LLaMA-Factory itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from backend.domain.argument_rules.conflict import Conflict, Job
from backend.domain.argument_rules.data import check_data, check_loading, check_media
from backend.domain.argument_rules.method import (
    check_checkpointing,
    check_loss,
    check_method,
    check_precision,
    check_quantization,
)
from backend.domain.argument_rules.optimizer import check_optimizer, check_schedule
from backend.domain.argument_rules.packages import check_packages
from backend.domain.argument_rules.sharding import check_sharding
from backend.domain.argument_rules.validation import check_best_model, check_validation

__all__ = ["Conflict", "Job", "find_conflicts"]


def find_conflicts(job: Job) -> Iterator[Conflict]:
    """Yield everything that does not go together; every rule is asked, never only the first."""
    yield from check_packages(job)
    yield from check_data(job)
    yield from check_media(job)
    yield from check_loading(job)
    yield from check_quantization(job)
    if job.kind == "train":
        yield from check_precision(job)
        yield from check_method(job)
        yield from check_optimizer(job)
        yield from check_schedule(job)
        yield from check_checkpointing(job)
        yield from check_loss(job)
        yield from check_validation(job)
        yield from check_best_model(job)
        yield from check_sharding(job)
