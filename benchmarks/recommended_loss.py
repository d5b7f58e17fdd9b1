"""The recommended settings against LLaMA-Factory's defaults on the demonstration model: same curve, which time.

python -m benchmarks.recommended_loss --url http://127.0.0.1:8000 --home .tuneforge

Needs a platform whose demonstration is ready. Trains three times through the platform, with the same global batch,
epochs, data and method: with the defaults (batch 2 × 8, gradient checkpointing), with what the estimator recommends
instead of them for Qwen2.5-VL-7B on an H200 (but Liger's kernels, which a CPU cannot run), and with the defaults under
another seed, whose distance from the first is what "noise" means. Exit code 1 when the recommended curve lies
further away than noise does.
"""

from __future__ import annotations

import json
import statistics
import sys
from typing import Any

import httpx

from backend.domain.demonstration import build_train_job
from backend.domain.estimator import DatasetFacts, estimate_job
from backend.domain.model_facts import parse_model_facts
from backend.domain.published_models import find_published_config
from benchmarks.platform_client import open_platform, run_job

EPOCHS = 1
PICTURE_FACTS = {
    "token_stats": {"mean": 1550, "p50": 1550, "p95": 1700, "label_mean": 150, "image_tokens_mean": 770},
    "picture_stats": {"per_example": 1, "width_mean": 1928, "height_mean": 1208},
}
DEFAULTS = {
    "per_device_train_batch_size": 2, "gradient_accumulation_steps": 8, "disable_gradient_checkpointing": False,
    "num_train_epochs": EPOCHS, "logging_steps": 1,
}  # fmt: skip


def main() -> int:
    """Run the three jobs and print their distances as a table and as one JSON line."""
    with open_platform(__doc__.splitlines()[0]) as (client, _home):
        body = build_train_job()
        body["args"] |= DEFAULTS
        recommended = recommend_for_h200()
        defaults = run_named(client, body, "defaults", {})
        better = run_named(client, body, "recommended", recommended)
        other_seed = run_named(client, body, "defaults-other-seed", {"seed": 43})
    return show(recommended, defaults, better, other_seed)


def recommend_for_h200() -> dict[str, Any]:
    """Return the arguments that the estimator recommends in the place of the defaults, without Liger's."""
    estimate = estimate_job(
        kind="train",
        stage="sft",
        finetuning_type="lora",
        args=DEFAULTS | {"cutoff_len": 2048, "bf16": True},
        model=parse_model_facts(find_published_config("qwen2.5-vl-7b") or {}),
        datasets=[DatasetFacts.parse(1204, PICTURE_FACTS)],
        gpu_kind="h200",
        gpu_count=1,
    )
    found: dict[str, Any] = estimate["recommended"]["args"]
    return {name: value for name, value in found.items() if name != "enable_liger_kernel"}


def run_named(
    client: httpx.Client, body: dict[str, Any], name: str, change: dict[str, Any]
) -> dict[str, Any]:
    """Run the job with some arguments changed; return its losses by step and the seconds of its steps."""
    job = run_job(client, body | {"name": name, "args": body["args"] | change})
    points = client.get(f"/jobs/{job['id']}/metrics").raise_for_status().json()["points"]
    losses = {point["step"]: point["loss"] for point in points if point.get("loss") is not None}
    seconds = job["actual"]["phase_seconds"]["training"]
    print(
        f"{name:22} {len(losses):4} steps, last ten losses {average_end(losses):.4f}, training {seconds:.1f} s",
        flush=True,
    )
    return {"losses": losses, "seconds": seconds}


def average_end(losses: dict[int, float]) -> float:
    """Return the mean of the last ten losses."""
    return statistics.fmean([losses[step] for step in sorted(losses)][-10:])


def measure_distance(one: dict[int, float], other: dict[int, float]) -> float:
    """Return the mean absolute difference of two curves with the same steps."""
    if one.keys() != other.keys():
        sys.exit(f"the curves have {len(one)} and {len(other)} steps: not the same global batch and epochs")
    return statistics.fmean(abs(one[step] - other[step]) for step in one)


def show(
    change: dict[str, Any], defaults: dict[str, Any], better: dict[str, Any], other_seed: dict[str, Any]
) -> int:
    """Print the comparison and say by the exit code whether the curves agree within noise."""
    distance = measure_distance(defaults["losses"], better["losses"])
    noise = measure_distance(defaults["losses"], other_seed["losses"])
    result = {
        "recommended": change,
        "distance": round(distance, 5),
        "noise": round(noise, 5),
        "within_noise": distance <= noise,
        "last_ten": [round(average_end(run["losses"]), 4) for run in (defaults, better, other_seed)],
        "training_seconds": [round(run["seconds"], 1) for run in (defaults, better)],
        "times_as_fast": round(defaults["seconds"] / better["seconds"], 2),
    }
    print(json.dumps(result))
    return 0 if distance <= noise else 1


if __name__ == "__main__":
    sys.exit(main())
