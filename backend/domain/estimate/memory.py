"""Peak memory of a device, term by term, at each moment of a step that may be the peak.

The terms follow what transformers, PEFT and torch keep: every `_PER_…` constant is a count of tensors read off
their code, not a fitted number. Those that are measured say so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from backend.domain.estimate.batch import Batch
from backend.domain.estimate.parameters import Parameters, count_parameters
from backend.domain.estimate.run_settings import RunSettings
from backend.domain.estimate.sharded import Held, measure_held
from backend.domain.gpu_kinds import GIB, MIB

PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "vision", "overhead")

_CONTEXT_BYTES = int(0.5 * GIB)
"""CUDA's own context and kernels: measured, what the driver shows above what torch has reserved."""

_PROCESS_BYTES = int(0.9 * GIB)
"""Measured: the resident memory of a run's process on a CPU before it holds a model."""

_WORKSPACE_BYTES = 72 * MIB
"""Measured: what matrix products and small buffers take of torch's own memory."""

_CACHE_BYTES = int(0.9 * GIB)
_CACHE_SHARE_MOVING = 0.06
_CACHE_SHARE_TRAINED = 0.045
"""Measured: what torch keeps reserved above what is allocated, as shares of what comes and goes and of what is
trained. It gives most of that back before it fails, so only `_UNUSABLE_SHARE` counts against a card."""

_UNUSABLE_SHARE = 0.015

_OPTIMIZER_BYTES = {
    "adamw_8bit": 2.0,
    "adamw_bnb_8bit": 2.0,
    "paged_adamw_8bit": 2.0,
    "paged_adamw_32bit": 8.0,
    "adafactor": 0.1,
    "sgd": 0.0,
    "lion_32bit": 4.0,
    "lion_8bit": 1.0,
}
"""Bytes of state for each trained number; AdamW keeps two moments of the number's own width."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one device: by part at the peak, and in all as torch allocates, without `overhead`.

    `pageable` of them the driver moves to main memory where the card is full; `host` is what is kept there anyway,
    for all devices together.
    """

    parts: dict[str, int]
    pageable: int = 0
    host: int = 0

    @property
    def allocated(self) -> int:
        return sum(size for part, size in self.parts.items() if part != "overhead")

    @property
    def total(self) -> int:
        """What the driver shows: with torch's cache and CUDA's context."""
        return sum(self.parts.values())

    @property
    def required(self) -> int:
        """What a device must have for the run not to fail."""
        context = min(_CONTEXT_BYTES, self.parts["overhead"])
        needed = self.allocated - self.pageable
        return int(needed * (1 + (_UNUSABLE_SHARE if context else 0))) + context


def estimate_memory(run: RunSettings, batch: Batch) -> Memory:
    """Return the peak of a training run, with `batch` the largest that comes."""
    parameters = count_parameters(run)
    held = _measure_held(run, parameters)
    fixed = {"weights": held.weights, "gradients": held.gradients, "optimizer": held.optimizer}
    moments = _list_moments(run, parameters, batch, held)
    peak = max(moments, key=lambda moment: sum(moment.values()))
    parts = {name: int(fixed.get(name, 0) + peak.get(name, 0)) for name in PARTS}
    pageable = parts["optimizer"] if run.optimizer.startswith("paged_") else 0
    if run.on_cpu:
        parts["overhead"] = _PROCESS_BYTES
        return Memory(parts)
    parts["activations"] += _WORKSPACE_BYTES
    moving = max(
        sum(moment.get(name, 0.0) for name in ("activations", "logits", "vision")) for moment in moments
    )
    trained = 0.0 if run.finetuning_type == "lora" else fixed["gradients"] + fixed["optimizer"]
    cache = _CACHE_BYTES + _CACHE_SHARE_MOVING * moving + _CACHE_SHARE_TRAINED * trained
    parts["overhead"] = _CONTEXT_BYTES + int(cache)
    return Memory(parts, pageable, int(held.host))


def _measure_held(run: RunSettings, parameters: Parameters) -> Held:
    """Return what is kept from step to step on one device, split as DeepSpeed or FSDP split it."""
    frozen = float(measure_frozen_weights(run, parameters))
    state = _OPTIMIZER_BYTES.get(run.optimizer)
    if run.sharder:
        held = measure_held(run, parameters, frozen, 8.0 if state is None else state)
    else:
        own = float(parameters.optimized * run.trained_bytes)
        kept = 2 * own if state is None else parameters.optimized * state + _count_wide_state(run)
        held = Held(frozen + own, own, kept, 0.0, 0.0, 0.0)
    if not run.has_reference_model or run.finetuning_type == "lora":
        return held
    shares = run.gpu_count if run.zero_stage == 3 else 1
    return replace(held, weights=held.weights + run.model.parameters * run.compute_bytes / shares)


def _count_wide_state(run: RunSettings) -> float:
    """Return the bytes that an optimizer of eight bits keeps more for embeddings: transformers has it keep theirs in
    float32."""
    if "8bit" not in run.optimizer or run.finetuning_type != "full":
        return 0.0
    moments = 1 if "lion" in run.optimizer else 2
    return float(run.model.text.embedding_parameters * moments * (4 - 1))


def _list_moments(
    run: RunSettings, parameters: Parameters, batch: Batch, held: Held
) -> list[dict[str, float]]:
    """Return what there is beside what is held, by part, at each moment that may be the peak."""
    # Whoever splits a model hands out its weights in half precision: no copy of them is made, nor kept.
    computed = replace(run, trained_bytes=run.compute_bytes) if run.sharder else run
    moments = [
        _build_forward_end(computed, parameters, batch),
        _build_loss_backward(computed, batch),
        _build_first_layer_backward(computed, batch),
        _build_backward_end(computed, batch),
    ]
    if run.sharder:
        for moment in moments:
            moment["weights"] = moment.get("weights", 0.0) + held.gathered
        return [*moments, {"gradients": held.update}]
    if run.accumulation == 1:
        # Between steps there are no gradients; they come into being while activations go.
        for moment in moments[:3]:
            moment["gradients"] = -held.gradients
    return moments


def measure_frozen_weights(run: RunSettings, parameters: Parameters) -> int:
    """Return the bytes of the weights that are not trained, quantised where that is asked."""
    if not run.quantization_bit:
        return parameters.frozen * run.compute_bytes
    linear = min(parameters.linear, parameters.frozen)
    # Eight bits have a scale in float32 for each row of a matrix.
    per_number = run.quantization_bit / 8 + (4 / run.model.text.hidden if run.quantization_bit == 8 else 0.0)
    if run.quantization_bit <= 4:
        # A block of 64 numbers shares a scale in float32, or, quantised again, of one byte and a 256th of such a scale.
        per_number += (1 + 4 / 256) / 64 if run.double_quantization else 4 / 64
    return int(linear * per_number) + (parameters.frozen - linear) * run.compute_bytes


# -- what one token leaves behind --------------------------------------------------------------------------


def measure_text_activations(run: RunSettings, batch: Batch) -> float:
    """Return the bytes that one token of one decoder layer keeps for the backward pass.

    Widths are h (hidden), q and k (queries; keys), i (feed-forward); b is `compute_bytes`.
    """
    text, width = run.model.text, run.compute_bytes
    hidden, query, key = text.hidden, text.query_width, text.key_value_width
    wide = text.active_experts * text.intermediate if text.experts > 1 else text.intermediate
    residual = 4 if run.finetuning_type == "full" else width
    norm_input = (0 if run.liger else 4) * hidden + (residual * hidden if run.liger else 0)
    # An attention mask has sdpa repeat keys and values for every query head; FlashAttention never does.
    repeated = batch.padded and key < query and not run.has_flash_attention
    attention = float(width * (2 * query + (2 * query if repeated else 2 * key)))
    if run.attention == "disabled":
        # Every pair of tokens has its probability, in float32 and once more as computed.
        attention += text.heads * batch.length * (4 + width)
    feed_forward = width * (2 if run.liger else 3) * wide
    inputs = 0.0
    if run.finetuning_type == "lora":
        # PEFT casts the input of each adapter anew, so each keeps a copy of its own.
        linears = text.linears
        chosen = [name for name in linears if "all" in run.lora_targets or name in run.lora_targets]
        inputs = width * sum(linears[name][0] for name in chosen)
        if text.experts > 1:
            inputs += width * text.active_experts * (2 * hidden + text.intermediate)
    else:
        # A trained matrix keeps its input, a norm its normalised one. Mixed precision casts the input for each
        # of q, k, v, gate and up anew; in one precision q, k and v share one, gate and up another.
        mixed = run.trained_bytes > width
        normalised = residual if mixed else width
        inputs = 2 * normalised * hidden + width * ((5 if mixed else 2) * hidden + query + wide)
    return 2 * norm_input + attention + feed_forward + inputs


def _measure_vision_activations(run: RunSettings) -> float:
    """Return the bytes that one patch of one vision layer keeps for the backward pass."""
    vision = run.model.vision
    assert vision is not None
    width = run.compute_bytes
    # Query, key, output; the value is a view of the joint product and keeps all three of its parts.
    attention = width * 6 * vision.hidden
    feed_forward = width * (3 if vision.gated else 2) * vision.intermediate
    kept = 2 * 4 * vision.hidden + attention + feed_forward
    if run.trains_vision:
        kept += width * (4 * vision.hidden + vision.intermediate)
    return kept


# -- the moments -------------------------------------------------------------------------------------------


def _count_kept(run: RunSettings, batch: Batch) -> dict[str, float]:
    """Return what is kept from the forward pass until the backward pass reaches it."""
    text = run.model.text
    residual = 4 if run.finetuning_type == "full" else run.compute_bytes
    lowest = _find_lowest_trained_layer(run)
    layers = text.layers - lowest
    if run.gradient_checkpointing:
        activations = batch.tokens * layers * text.hidden * residual
    else:
        each = measure_text_activations(run, batch)
        activations = batch.tokens * layers * each
    # The last norm keeps its input in float32 and its output.
    activations += batch.tokens * text.hidden * (run.compute_bytes + 4)
    vision = 0.0
    if run.model.vision is not None and (run.keeps_vision_activations or run.trains_vision):
        each = _measure_vision_activations(run)
        if run.trains_vision and run.gradient_checkpointing:
            each = run.model.vision.hidden * run.compute_bytes
        vision = batch.all_patches * run.model.vision.layers * each
    return {"activations": activations, "vision": vision}


def _find_lowest_trained_layer(run: RunSettings) -> int:
    if run.finetuning_type != "freeze" or run.trained_layers < 0:
        return 0
    return max(0, run.model.text.layers - run.trained_layers)


def _build_forward_end(run: RunSettings, parameters: Parameters, batch: Batch) -> dict[str, float]:
    """The loss has just been computed; autocast still holds its half-precision copies of trained weights."""
    moment = _count_kept(run, batch)
    if run.compute_bytes < run.trained_bytes:
        moment["weights"] = float(run.compute_bytes * parameters.trained_matrices)
    moment["logits"] = _measure_logits(run, batch, copies=2.0)
    return moment


def _build_loss_backward(run: RunSettings, batch: Batch) -> dict[str, float]:
    """The gradient of the logits is being made: log-probabilities, their gradient, and that of the logits.

    Half-precision copies of trained weights are still there where the backward pass will need them: all of them
    without checkpointing, that of a trained output layer with it.
    """
    moment = _count_kept(run, batch)
    moment["logits"] = _measure_logits(run, batch, copies=3.0)
    moment["weights"] = _measure_kept_copies(run)
    return moment


def _measure_kept_copies(run: RunSettings) -> float:
    if run.compute_bytes == run.trained_bytes:
        return 0.0
    if not run.gradient_checkpointing:
        return float(run.compute_bytes * count_parameters(run).trained_matrices)
    return float(
        run.compute_bytes * run.model.text.embedding_parameters if run.finetuning_type == "full" else 0
    )


def _build_first_layer_backward(run: RunSettings, batch: Batch) -> dict[str, float]:
    """The backward pass is inside the last layer, whose activations are all there, with their gradients."""
    moment = _count_kept(run, batch)
    moment["activations"] += batch.tokens * _measure_layer_gradients(run)
    if run.gradient_checkpointing:
        moment["activations"] += batch.tokens * measure_text_activations(run, batch)
    moment["weights"] = _measure_kept_copies(run)
    return moment


def _measure_layer_gradients(run: RunSettings) -> float:
    """Return the bytes a token takes while the feed-forward block is gone back through.

    The gradients of its input, in half precision, and of what came before it; LoRA's cast to float32 adds its own.
    """
    text = run.model.text
    wide = text.active_experts * text.intermediate if text.experts > 1 else text.intermediate
    return wide * (2 * run.compute_bytes + (4 if run.finetuning_type == "lora" else 0))


def _build_backward_end(run: RunSettings, batch: Batch) -> dict[str, float]:
    """The backward pass has reached the bottom: every gradient is there but those of the layer it is in, or the
    gradient of the embeddings, which comes whole and is then added."""
    text = run.model.text
    layer = batch.tokens * measure_text_activations(run, batch)
    if run.finetuning_type != "lora":
        layer -= text.layer_parameters * run.trained_bytes
    embeddings = 0.0
    if run.finetuning_type == "full" and (text.tied or run.accumulation > 1):
        embeddings = text.embedding_parameters * run.trained_bytes
    return {"activations": max(layer, 0.0), "gradients": embeddings}


def _measure_logits(run: RunSettings, batch: Batch, *, copies: float) -> float:
    """Return the bytes of logits and loss: `copies` in float32, and one in half precision in the forward pass."""
    text = run.model.text
    if run.liger and run.stage in ("sft", "pt"):
        # The loss is fused with the last product and works through the tokens in slices.
        return batch.tokens * text.hidden * run.compute_bytes * 2 + 64 * MIB
    numbers = batch.tokens * text.vocabulary
    if run.stage in ("dpo", "kto"):
        # Policy's logits and log-probabilities, then the reference's logits, their shifted copy and result.
        copies = 5.0 if run.has_reference_model else 4.0
    elif run.stage == "rm":
        # The value head's model makes logits that nobody asks for, in both precisions.
        copies = 1.5
    half = run.compute_bytes if copies == 2.0 and run.compute_bytes < 4 else 0
    return numbers * (4 * copies + half)
