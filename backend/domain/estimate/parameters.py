"""How many parameters a run holds, and how many of them it trains."""

from __future__ import annotations

from dataclasses import dataclass

from backend.domain.estimate.run_settings import RunSettings

_TENSORS_A_LAYER = 9
"""Two norms and seven matrices."""


@dataclass(frozen=True)
class Parameters:
    """Counts of numbers, not of bytes.

    `frozen` are held and not trained; `trained` are the trained ones of the model itself, `adapter` those that
    LoRA adds; `trained_matrices` are the trained ones that matrix products use, of which autocast keeps a copy in
    half precision; `tensors` is how many tensors the optimizer steps over; `linear` are the frozen ones that
    quantisation can shrink.
    """

    frozen: int
    trained: int
    adapter: int
    trained_matrices: int
    tensors: int
    linear: int

    @property
    def optimized(self) -> int:
        return self.trained + self.adapter


def count_parameters(run: RunSettings) -> Parameters:
    """Count by the rules of LLaMA-Factory's three methods."""
    total = run.model.parameters
    text = run.model.text
    linear = text.layers * (text.layer_parameters - 2 * text.hidden)
    if run.finetuning_type == "lora":
        adapter, tensors = _count_adapter(run)
        return Parameters(total, 0, adapter, adapter, tensors, linear)
    if run.finetuning_type == "freeze":
        layers = min(abs(run.trained_layers), text.layers)
        trained = layers * text.layer_parameters
        matrices = layers * (text.layer_parameters - 2 * text.hidden)
        return Parameters(max(0, total - trained), trained, 0, matrices, layers * _TENSORS_A_LAYER, linear)
    frozen = _count_frozen_vision(run)
    trained = max(0, total - frozen)
    lookup_only = 0 if text.tied else text.embedding_parameters
    matrices = max(0, trained - lookup_only)
    return Parameters(frozen, trained, 0, matrices, text.layers * _TENSORS_A_LAYER + 3, 0)


def _count_frozen_vision(run: RunSettings) -> int:
    vision = run.model.vision
    if vision is None:
        return 0
    merger = vision.merger_parameters
    tower = vision.parameters - merger
    return (tower if run.frozen_vision else 0) + (merger if run.frozen_projector else 0)


def _count_adapter(run: RunSettings) -> tuple[int, int]:
    """Return LoRA's parameters, `rank x (inputs + outputs)` for every targeted matrix, and its tensors."""
    text = run.model.text
    linears = text.linears
    if "all" not in run.lora_targets:
        linears = {name: shape for name, shape in linears.items() if name in run.lora_targets}
    each = sum(inputs + outputs for inputs, outputs in linears.values())
    if text.experts > 1 and "all" in run.lora_targets:
        each += text.experts * 3 * (text.hidden + text.intermediate)
    count = text.layers * run.lora_rank * each
    tensors = 2 * text.layers * max(1, len(linears))
    vision = run.model.vision
    if vision is not None and not run.frozen_vision:
        wide = 8 * vision.hidden + (3 if vision.gated else 2) * (vision.hidden + vision.intermediate)
        count += vision.layers * run.lora_rank * wide
        tensors += vision.layers * 10
    return count, tensors
