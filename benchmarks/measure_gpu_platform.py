"""Runs GPU jobs through a running platform: its defaults against its own recommendation, and jobs over two GPUs.

python -m benchmarks.measure_gpu_platform prepare --home HOME    (before `tuneforge up`)
python -m benchmarks.measure_gpu_platform recommended --home HOME --url URL --out FILE
python -m benchmarks.measure_gpu_platform two-gpus --home HOME --url URL --out FILE

`prepare` writes models with random weights in published shapes (speed and memory do not depend on their values) and
synthetic data into the home, so that nothing is downloaded. Then `make up`, or `tuneforge up` with
`TUNEFORGE_DEMONSTRATION=off`. `recommended` trains Qwen2.5-VL-7B by LoRA on pictures of 1928x1208, first as
LLaMA-Factory's defaults have it and then as the estimate of that job recommends, and writes samples a second of both.
`two-gpus` stops a job over two GPUs, resumes it and compares its curve with one that ran through; then FSDP.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from backend.domain.published_models import find_published_config
from benchmarks.measured_inputs import make_data, make_model_folder, make_tokenizer, write_weights
from benchmarks.platform_client import run_job, sign_in, wait_until

PICTURES = {"data": "image", "per_device_train_batch_size": 16, "gradient_accumulation_steps": 1, "steps": 40}
TALK = {"data": "text", "per_device_train_batch_size": 16, "gradient_accumulation_steps": 1, "steps": 60}
VISION, TEXT = "qwen2.5-vl-7b-random", "qwen2.5-1.5b-random"


def main() -> int:
    """Do what the first argument says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["prepare", "recommended", "two-gpus"])
    parser.add_argument("--home", type=Path, default=Path(".tuneforge"))
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--out", type=Path, default=Path("gpu_platform.jsonl"))
    options = parser.parse_args()
    if options.what == "prepare":
        prepare(options.home)
        return 0
    with httpx.Client(base_url=f"{options.url}/api/v1", timeout=60) as client:
        sign_in(client, options.home)
        measure = measure_recommended if options.what == "recommended" else measure_two_gpus
        with options.out.open("a", encoding="utf-8") as file:
            for row in measure(client):
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(json.dumps(row), flush=True)
    return 0


# -- what jobs need ----------------------------------------------------------------------------------------


def prepare(home: Path) -> None:
    """Write both models and both datasets into the home."""
    tokenizer = make_tokenizer(home / "tokenizer")
    for name, template, modalities in (
        (VISION, "qwen2_vl", ["text", "image"]),
        (TEXT, "qwen", ["text"]),
    ):
        begun = time.monotonic()
        parameters = write_model(name, home / "models" / name, tokenizer)
        facts = {"parameters": parameters, "template": template, "modalities": modalities}
        _write_facts(home / "models" / name, facts | {"architecture": "random", "source": "local"})
        print(f"{name}: {parameters / 1e9:.2f} B, {time.monotonic() - begun:.0f} s", flush=True)
    (home / "datasets").mkdir(parents=True, exist_ok=True)
    write_dataset("pictures", PICTURES | {"cutoff_len": 2048}, home / "datasets")
    write_dataset("talk", TALK | {"cutoff_len": 1024}, home / "datasets")


def write_model(name: str, folder: Path, tokenizer: Any) -> int:
    """Write a model with random weights in the shape that its name names; return how many it has."""
    folder.mkdir(parents=True)
    make_model_folder(find_published_config(name) or {}, folder, tokenizer, tiny=False, on_cpu=False)
    return write_weights(folder, has_pictures=name == VISION)


def write_dataset(name: str, case: dict[str, Any], parent: Path) -> None:
    """Write a dataset with the facts that an estimate rests on."""
    folder = parent / name
    make_data(case, folder)
    info = json.loads((folder / "dataset_info.json").read_text())["data"]
    pictures = case["data"] == "image"
    tokens: dict[str, float] = {"mean": 880, "p50": 880, "p95": 900, "max": 910, "label_mean": 60}
    tokens |= {"image_tokens_mean": 770} if pictures else {}
    if not pictures:
        tokens = dict.fromkeys(("mean", "p50", "p95", "max"), case["cutoff_len"]) | {"label_mean": 1000}
    facts: dict[str, Any] = {
        "format": "sharegpt" if pictures else "alpaca",
        "modalities": ["text", "image"] if pictures else ["text"],
        "example_count": case["steps"] * case["per_device_train_batch_size"],
        "file_name": info["file_name"],
        "dataset_info": info,
        "token_stats": tokens,
    }
    if pictures:
        facts["picture_stats"] = {"per_example": 1, "width_mean": 1928, "height_mean": 1208}
    _write_facts(folder, facts)


def _write_facts(folder: Path, facts: dict[str, Any]) -> None:
    (folder / "tuneforge.json").write_text(json.dumps(facts), encoding="utf-8")


# -- the defaults against what is recommended --------------------------------------------------------------


def measure_recommended(client: httpx.Client) -> Any:
    """Yield the job of LLaMA-Factory's defaults, then the one that its estimate recommends."""
    defaults = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 8,
        "cutoff_len": 2048,
        "max_steps": 8,
        "logging_steps": 1,
        "preprocessing_num_workers": 12,
    }
    body = build_body("defaults", VISION, "pictures", defaults, gpu_count=1)
    whole = body | {"args": {name: value for name, value in defaults.items() if name != "max_steps"}}
    estimate = client.post("/estimates", json=whole).raise_for_status().json()
    recommended = estimate["recommended"]
    yield {"id": "recommendation", "basis": estimate["basis"], "recommended": recommended}
    first = run_job(client, body)
    yield describe(first, 16)
    args = defaults | (recommended or {}).get("args", {}) | {"max_steps": 30}
    second = run_job(client, body | {"name": "recommended", "args": args})
    yield describe(second, 16)
    ratio = first["actual"]["step_seconds_median"] / second["actual"]["step_seconds_median"]
    yield {"id": "ratio", "samples_per_second_recommended_to_defaults": round(ratio, 3)}


def build_body(
    name: str, model: str, dataset: str, args: dict[str, Any], *, gpu_count: int
) -> dict[str, Any]:
    """Return the body of a LoRA job."""
    return {
        "kind": "train",
        "name": name,
        "model": model,
        "datasets": [dataset],
        "stage": "sft",
        "finetuning_type": "lora",
        "args": args,
        "resources": {"gpu_count": gpu_count},
    }


def describe(job: dict[str, Any], samples: int) -> dict[str, Any]:
    """Return what was estimated and what was measured of a job whose steps take `samples` samples."""
    estimate, actual = job["estimate"], job["actual"]
    step = actual.get("step_seconds_median")
    return {
        "id": job["name"],
        "status": job["status"],
        "attempt": job["attempt"],
        "args": job["spec"]["args"],
        "assignment": job.get("assignment"),
        "estimate": {
            name: estimate.get(name)
            for name in ("duration_seconds", "breakdown_seconds", "memory_bytes", "basis", "fits")
        },
        "actual": actual,
        "seconds_per_sample": round(step / samples, 4) if step else None,
    }


# -- two GPUs ----------------------------------------------------------------------------------------------


def measure_two_gpus(client: httpx.Client) -> Any:
    """Yield a job stopped and resumed over two GPUs beside one that ran through, then one under FSDP."""
    args = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "cutoff_len": 1024,
        "max_steps": 60,
        "logging_steps": 1,
        "learning_rate": 1e-4,
    }
    body = build_body("two-gpus", TEXT, "talk", args, gpu_count=2)
    job = client.post("/jobs", json=body).raise_for_status().json()
    job = wait_until(client, job["id"], lambda now: now["progress"]["step"] >= 10 or now["finished_at"])
    client.post(f"/jobs/{job['id']}/stop", json={"keep": True}).raise_for_status()
    begun = time.monotonic()
    stopped = wait_until(client, job["id"], lambda now: now["finished_at"])
    yield describe(stopped, 8) | {
        "id": "two-gpus stopped",
        "stop_seconds": round(time.monotonic() - begun, 2),
    }
    client.post(f"/jobs/{job['id']}/resume").raise_for_status()
    resumed = wait_until(client, job["id"], lambda now: now["finished_at"])
    yield describe(resumed, 8) | {"id": "two-gpus resumed"}
    through = run_job(client, body | {"name": "two-gpus through"})
    yield describe(through, 8)
    curves = [
        {
            point["step"]: point["loss"]
            for point in client.get(f"/jobs/{each}/metrics").json()["points"]
            if point.get("loss") is not None
        }
        for each in (job["id"], through["id"])
    ]
    differences = [abs(curves[0][step] - curves[1][step]) for step in curves[0].keys() & curves[1].keys()]
    log = client.get(f"/jobs/{job['id']}/logs?limit=1000000").text
    yield {
        "id": "curves",
        "steps": [len(curve) for curve in curves],
        "largest_difference": max(differences, default=None),
        "log_names_nccl": "nccl" in log.lower(),
    }
    fsdp = {"fsdp": "full_shard auto_wrap", "max_steps": 12}
    yield describe(
        run_job(client, body | {"name": "fsdp", "finetuning_type": "full", "args": args | fsdp}), 8
    )


if __name__ == "__main__":
    sys.exit(main())
