"""Measured figures of a device in the place of published ones."""

from __future__ import annotations

from typing import Any

import pytest

from backend.domain.estimator import estimate_job
from backend.domain.gpu_kinds import _FITTED_ON, _FITTED_ON_CPU, describe_gpu_kind
from backend.domain.protocol import Probe
from tests.domain.estimator_cases import build_args, build_data, build_model

SAME = _FITTED_ON[1]


def faster(probe: Probe, **times: float) -> Probe:
    """Return the probe with some figures multiplied."""
    return probe.model_copy(update={name: getattr(probe, name) * factor for name, factor in times.items()})


def estimate(gpu_kind: str, probe: Probe | None = None) -> dict[str, Any]:
    """Return the estimate of one and the same job on a kind of device."""
    return estimate_job(
        kind="train",
        stage="sft",
        finetuning_type="lora",
        args=build_args(),
        model=build_model("qwen2.5-vl-3b"),
        datasets=[build_data(500, 1200.0, pictures=1.0)],
        gpu_kind=gpu_kind,
        gpu_count=1,
        probe=probe,
    )


def train_seconds(gpu_kind: str, probe: Probe | None) -> float:
    """Return the seconds of the steps of one and the same job."""
    return float(estimate(gpu_kind, probe)["breakdown_seconds"]["train"])


@pytest.mark.parametrize(("kind", "reference"), [("h200", SAME), ("cpu", _FITTED_ON_CPU[1])])
def test_a_device_that_measures_as_the_one_fitted_on_is_estimated_as_published(
    kind: str, reference: Probe
) -> None:
    assert train_seconds(kind, reference) == pytest.approx(train_seconds(kind, None), rel=1e-6)
    measured, published = describe_gpu_kind(kind, None, reference), describe_gpu_kind(kind)
    assert measured.flops_per_second == pytest.approx(published.flops_per_second)
    assert measured.memory_bytes == published.memory_bytes


@pytest.mark.parametrize("kind", ["h200", "cpu"])
def test_twice_as_fast_in_all_takes_half_the_time(kind: str) -> None:
    reference = SAME if kind == "h200" else _FITTED_ON_CPU[1]
    double = faster(
        reference, flops_per_second=2, bytes_per_second=2, operation_seconds=0.5, picture_seconds=0.5
    )
    assert train_seconds(kind, double) == pytest.approx(train_seconds(kind, None) / 2, rel=0.12)


@pytest.mark.parametrize(
    "change",
    [{"flops_per_second": 0.5}, {"bytes_per_second": 0.5}, {"operation_seconds": 2}, {"picture_seconds": 2}],
)
def test_a_slower_part_never_gives_less_time(change: dict[str, float]) -> None:
    assert train_seconds("h200", faster(SAME, **change)) >= train_seconds("h200", SAME)


def test_a_card_nobody_published_is_known_once_it_was_measured() -> None:
    names = {warning["code"] for warning in estimate("mystery-1")["warnings"]}
    assert "unknown_gpu_kind" in names
    told = estimate("mystery-1", faster(SAME, flops_per_second=0.3))
    assert "unknown_gpu_kind" not in {warning["code"] for warning in told["warnings"]}
    assert (told["basis"], told["learnt_from"]) == ("calibrated", 0)
