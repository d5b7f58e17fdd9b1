"""Predict measured runs: the one place where a row of measurements becomes settings and facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.domain.estimate.advice import judge_fit
from backend.domain.estimate.batch import build_batches, scale_picture
from backend.domain.estimate.dataset_facts import DatasetFacts
from backend.domain.estimate.memory import Memory, estimate_memory
from backend.domain.estimate.phases import estimate_generation, estimate_generation_bytes
from backend.domain.estimate.run_settings import RunSettings, parse_run_settings, read_count, read_number
from backend.domain.estimate.speed import StepTime, estimate_step
from backend.domain.gpu_kinds import GIB, describe_gpu_kind
from backend.domain.model_facts import parse_model_facts
from backend.domain.published_models import find_published_config

PICTURE_SIZE = (1928, 1208)
_TEXT_BESIDE_PICTURE = 100


def predict_case(case: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"id", "optimizer_step_s", "peak_allocated_gib", "fits", …}` for one row of measurements.

    Only what was asked of the run is read (model, method, shape, device), never what was measured. A `predict` row
    generates: it has `predict_runtime_s` in the place of a step.
    """
    run = build_run(case)
    data = build_facts(case, run)
    usual, largest = build_batches(run, data)
    answer: dict[str, Any] = {"id": case.get("id")}
    if case.get("predict"):
        args = dict(case) | {"per_device_eval_batch_size": run.batch}
        memory = Memory(estimate_generation_bytes(run, args, data))
        generation, _ = estimate_generation(run, args, data, tuned=False, stops=False)
        answer["predict_runtime_s"] = round(generation, 3)
    else:
        memory = estimate_memory(run, largest)
        step = estimate_step(run, usual)
        answer["optimizer_step_s"] = round(step.total, 4)
        answer["step_parts_s"] = _show_step(step)
    answer["peak_allocated_gib"] = round(memory.allocated / GIB, 3)
    answer["total_gib"] = round(memory.total / GIB, 3)
    answer["fits"] = judge_fit(memory, run.gpu.memory_bytes) != "no"
    answer["parts_gib"] = {name: round(size / GIB, 3) for name, size in memory.parts.items()}
    return answer


def _show_step(step: StepTime) -> dict[str, float]:
    parts = {"compute": step.compute, "loading": step.loading, "update": step.update}
    return {name: round(value, 4) for name, value in (parts | {"communication": step.communication}).items()}


def build_run(case: Mapping[str, Any]) -> RunSettings:
    """Return a row's settings; the model is its own `config`, or the published shape of its name."""
    config = case.get("config")
    name = str(case.get("model", ""))
    found = config if isinstance(config, dict) else find_published_config(name) or {}
    parameters = read_count(case, "params", 0, least=0) or None
    args = dict(case)
    if isinstance(case.get("gradient_checkpointing"), bool):
        args["disable_gradient_checkpointing"] = not case["gradient_checkpointing"]
    if any(case.get(name) is True for name in ("liger", "use_liger_kernel")):
        args["enable_liger_kernel"] = True
    return parse_run_settings(
        args,
        model=parse_model_facts(found, parameters=parameters),
        gpu=describe_gpu_kind(str(case.get("gpu", "")), read_count(case, "memory_bytes", 0, least=0) or None),
        gpu_count=read_count(case, "gpu_count", 1),
        stage=str(case.get("stage", "sft")),
        finetuning_type=str(case.get("finetuning_type", "lora")),
        on_platform=case.get("on_platform") is True,
    )


def build_facts(case: Mapping[str, Any], run: RunSettings) -> DatasetFacts:
    """Return what a row's `data` means: `text` and `pref` fill `cutoff_len`, `image` is a picture and a little text."""
    examples = read_count(case, "samples", 1_000)
    if case.get("data") != "image" or run.model.vision is None:
        length = float(run.cutoff_len)
        return _build_even(examples, length, length * 0.9, 0.0)
    rows, columns = scale_picture(run, *PICTURE_SIZE, run.model.vision)
    picture_tokens = rows * columns / run.model.vision.merge**2
    length = read_number(case, "mean_tokens", picture_tokens + _TEXT_BESIDE_PICTURE)
    return _build_even(examples, length, _TEXT_BESIDE_PICTURE / 2, picture_tokens)


def _build_even(examples: int, length: float, label: float, picture_tokens: float) -> DatasetFacts:
    stats = {"mean": length, "label_mean": label, "image_tokens_mean": picture_tokens}
    if picture_tokens:
        # The text beside the pictures differs by a few words.
        stats |= {"p50": length, "p95": length + 8, "max": length + 12}
    facts: dict[str, Any] = {"token_stats": stats}
    if picture_tokens:
        facts["picture_stats"] = {
            "per_example": 1,
            "width_mean": PICTURE_SIZE[0],
            "height_mean": PICTURE_SIZE[1],
        }
    return DatasetFacts.parse(examples, facts)
