"""Runs jobs of many kinds through a running platform, one after the other, and keeps estimate beside truth.

python -m benchmarks.measure_platform --url http://127.0.0.1:8000 --home .tuneforge

Needs a platform whose demonstration is ready (`make up`), on a machine with nothing else to do. Every job is
submitted only when the one before has ended, so each estimate rests on all jobs before it and on none after.
Writes `benchmarks/measured/platform_cpu.jsonl`, which `make estimator-report` reads.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from backend.domain.demonstration import HELDOUT_DATASET_NAME, MODEL_NAME, TRAIN_DATASET_NAME
from benchmarks.platform_client import open_platform, run_job

TARGET = Path(__file__).resolve().parent / "measured" / "platform_cpu.jsonl"


def _train(
    case_id: str, batch: int, accumulation: int, steps: int, method: str = "lora", **args: Any
) -> dict[str, Any]:
    shape = {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "max_steps": steps,
        "cutoff_len": 512,
        "learning_rate": 1e-4,
        "logging_steps": 5,
    }
    return {
        "id": case_id, "kind": "train", "model": MODEL_NAME, "datasets": [TRAIN_DATASET_NAME],
        "stage": "sft", "finetuning_type": method, "args": shape | args,
    }  # fmt: skip


def _evaluate(case_id: str, batch: int, samples: int, *, tuned: bool, **args: Any) -> dict[str, Any]:
    shape = {
        "per_device_eval_batch_size": batch,
        "max_samples": samples,
        "do_sample": False,
        "max_new_tokens": 48,
    }
    return {
        "id": case_id, "kind": "evaluate", "model": MODEL_NAME, "datasets": [HELDOUT_DATASET_NAME],
        "tuned": tuned, "args": shape | args,
    }  # fmt: skip


CASES = [
    _train("p01", 16, 1, 20),
    _train("p02", 4, 4, 15),
    _evaluate("p03", 8, 48, tuned=False),
    _train("p04", 8, 1, 40, disable_gradient_checkpointing=True),
    _evaluate("p05", 8, 48, tuned=True),
    _train("p06", 16, 1, 20, "full"),
    _train("p07", 2, 8, 10),
    _train("p08", 16, 1, 20, "freeze", freeze_trainable_layers=2),
    _evaluate("p09", 4, 96, tuned=True),
    _train("p10", 32, 1, 12),
    _train("p11", 8, 2, 25, lora_rank=32),
    _evaluate("p12", 16, 96, tuned=False, max_new_tokens=24),
    _train("p13", 16, 2, 15, disable_gradient_checkpointing=True),
    _train("p14", 1, 4, 40),
    _train("p15", 8, 1, 30, "full", disable_gradient_checkpointing=True),
    _evaluate("p16", 2, 32, tuned=True),
    _train("p17", 16, 1, 60),
    _train("p18", 4, 1, 60, disable_gradient_checkpointing=True),
    _train("p19", 16, 4, 6),
    _evaluate("p20", 16, 108, tuned=True),
    _train("p21", 8, 4, 10, "freeze", freeze_trainable_layers=1),
    _train("p22", 16, 1, 30, dataloader_num_workers=1),
    _train("p23", 4, 2, 30, lora_rank=4),
    _evaluate("p24", 8, 108, tuned=False),
]


def main() -> int:
    """Run all cases in order and write what each was estimated at and took."""
    with open_platform(__doc__.splitlines()[0]) as platform, TARGET.open("w", encoding="utf-8") as file:
        for row in run_cases(platform.client):
            file.write(json.dumps(row) + "\n")
            file.flush()
            show(row)
    return 0


def run_cases(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """Yield for each case what it was estimated at when it was submitted, and what it took."""
    adapter = None
    for case in CASES:
        body = {name: value for name, value in case.items() if name not in ("id", "tuned")} | {
            "name": case["id"]
        }
        if case.get("tuned"):
            body["adapter"] = adapter
        job = run_job(client, body)
        if case["kind"] == "train" and case["finetuning_type"] == "lora":
            adapter = job["id"]
        estimate, actual = job["estimate"], job["actual"]
        yield case | {
            "estimate": {
                name: estimate[name]
                for name in (
                    "duration_seconds",
                    "breakdown_seconds",
                    "modelled_seconds",
                    "basis",
                    "learnt_from",
                    "group",
                )
            },
            "duration_seconds": actual["duration_seconds"],
            "phase_seconds": actual["phase_seconds"],
            "load_average": os.getloadavg()[0],
        }


def show(row: dict[str, Any]) -> None:
    """Print one case."""
    said, took = row["estimate"]["duration_seconds"], row["duration_seconds"]
    inside = "inside" if said["low"] <= took <= said["high"] else "OUTSIDE"
    print(
        f"{row['id']} {row['kind']:9} estimated {said['expected']:6.1f} s ({said['low']:.1f} to {said['high']:.1f}), "
        f"took {took:6.1f} s ({said['expected'] / took - 1:+.0%}), {inside}, "
        f"learnt from {row['estimate']['learnt_from']}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
