"""On how many devices of a kind a model can be trained, by each method: memory only, for a small batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backend.domain.estimate.advice import judge_fit
from backend.domain.estimate.batch import build_batches
from backend.domain.estimate.dataset_facts import DatasetFacts
from backend.domain.estimate.memory import estimate_memory
from backend.domain.estimate.run_settings import parse_run_settings
from backend.domain.gpu_kinds import GpuKind
from backend.domain.model_facts import ModelFacts

_SMALL: dict[str, Any] = {"per_device_train_batch_size": 1, "cutoff_len": 2048, "bf16": True}
_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lora", {}),
    "qlora": ("lora", {"quantization_bit": 4}),
    "full": ("full", {}),
}
_ROWS = DatasetFacts.parse(1000, {"token_stats": {"mean": 1024, "p50": 1024, "p95": 2048, "max": 2048}})


def find_fits(model: ModelFacts, gpu: GpuKind, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Return for each method the least of `counts` (ascending) of devices of one node on which it fits.

    One row of 2048 tokens at a time; on several devices the model is split among them (ZeRO-3). Where it fits on
    none, `gpus` is None.
    """
    return [
        {"gpu_kind": gpu.id, "method": method, **_find_least(model, gpu, counts, method)}
        for method in _METHODS
    ]


def _find_least(model: ModelFacts, gpu: GpuKind, counts: Sequence[int], method: str) -> dict[str, Any]:
    finetuning_type, args = _METHODS[method]
    for count in counts:
        # bitsandbytes' four-bit weights are not split by ZeRO-3.
        splits = count > 1 and method != "qlora"
        fits = _judge(
            model, gpu, count, finetuning_type, _SMALL | args | ({"deepspeed": "ds_z3"} if splits else {})
        )
        if fits != "no":
            return {"gpus": count, "fits": fits}
    return {"gpus": None, "fits": "no"}


def _judge(model: ModelFacts, gpu: GpuKind, count: int, finetuning_type: str, args: Mapping[str, Any]) -> str:
    run = parse_run_settings(
        args, model=model, gpu=gpu, gpu_count=count, stage="sft", finetuning_type=finetuning_type
    )
    return judge_fit(estimate_memory(run, build_batches(run, _ROWS)[1]), gpu.memory_bytes)
