"""The same job on other numbers of devices: the same global batch, and what that makes of time, money and memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.domain.estimator import estimate_job
from tests.domain.estimator_cases import build_args, build_data, build_model, jobs


def compare(counts: list[int], gpu_count: int = 1, **args: Any) -> list[dict[str, Any]]:
    """Return the choices of a job of Qwen2.5-7B on H200."""
    estimate = estimate_job(
        kind="train",
        stage="sft",
        finetuning_type="lora",
        args=build_args() | args,
        model=build_model("qwen2.5-7b"),
        datasets=[build_data(2000, 900.0)],
        gpu_kind="h200",
        gpu_count=gpu_count,
        gpu_counts=counts,
    )
    found: list[dict[str, Any]] = estimate["by_gpu_count"]
    return found


def test_accumulation_takes_up_the_change_and_more_devices_take_less_time_for_more_money() -> None:
    found = compare([1, 2, 4, 8])
    assert [choice["resources"]["gpu_count"] for choice in found] == [1, 2, 4, 8]
    assert [choice["args"] for choice in found] == [
        {},
        *({"gradient_accumulation_steps": n} for n in (4, 2, 1)),
    ]
    seconds = [choice["duration_seconds"]["expected"] for choice in found]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] > 2.5 * seconds[2]
    costs = [float(choice["cost"]["expected"]) for choice in found]
    assert costs == sorted(costs)


def test_the_count_that_was_asked_for_is_estimated_as_the_job_is() -> None:
    (asked,) = (choice for choice in compare([1, 2, 4], gpu_count=4) if choice["resources"]["gpu_count"] == 4)
    job = estimate_job(
        kind="train", stage="sft", finetuning_type="lora", args=build_args(), model=build_model("qwen2.5-7b"),
        datasets=[build_data(2000, 900.0)], gpu_kind="h200", gpu_count=4,
    )  # fmt: skip
    assert (asked["args"], asked["cost"]) == ({}, job["cost"])
    assert asked["duration_seconds"]["expected"] == pytest.approx(
        job["duration_seconds"]["expected"], abs=0.5
    )


def test_a_batch_too_large_for_so_many_devices_shrinks() -> None:
    (choice,) = compare([8], per_device_train_batch_size=16, gradient_accumulation_steps=1)
    assert choice["args"] == {"per_device_train_batch_size": 2}


def test_where_the_global_batch_cannot_stay_nothing_is_offered() -> None:
    assert compare([3, 5], per_device_train_batch_size=2, gradient_accumulation_steps=8) == []


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(jobs(kinds=("train",)), st.sets(st.integers(1, 16), max_size=5))
def test_every_choice_keeps_the_global_batch(job: dict[str, Any], counts: set[int]) -> None:
    before = job["args"]
    together = (
        before["per_device_train_batch_size"] * before["gradient_accumulation_steps"] * job["gpu_count"]
    )
    for choice in estimate_job(**job | {"gpu_counts": counts})["by_gpu_count"]:
        after = before | choice["args"]
        count = choice["resources"]["gpu_count"]
        assert count in counts
        assert after["per_device_train_batch_size"] * after["gradient_accumulation_steps"] * count == together
