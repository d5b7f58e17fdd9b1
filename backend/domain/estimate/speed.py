"""How long one step takes: work against the device's ceilings, launching against the host, and loading of data."""

from __future__ import annotations

from dataclasses import dataclass

from backend.domain.estimate.batch import Batch
from backend.domain.estimate.parameters import Parameters, count_parameters
from backend.domain.estimate.run_settings import RunSettings


@dataclass(frozen=True)
class Ceilings:
    """Shares of the published ceilings that real training reaches, and what the host takes for each operation.

    Fitted once on measured runs (see docs/estimator.md); everything else in this module is counted.
    """

    matrix_share: float = 0.62
    bandwidth_share: float = 0.75
    forward_operation_seconds: float = 16e-6
    backward_operation_seconds: float = 10e-6
    step_tensor_seconds: float = 25e-6
    step_seconds: float = 0.02
    overlap: float = 4.0
    picture_seconds_fixed: float = 0.004
    picture_seconds_per_megapixel: float = 0.045
    example_seconds: float = 0.0003


GPU_CEILINGS = Ceilings()
CPU_CEILINGS = Ceilings(
    matrix_share=0.5,
    bandwidth_share=0.5,
    forward_operation_seconds=18e-6,
    backward_operation_seconds=14e-6,
    step_tensor_seconds=40e-6,
    step_seconds=0.01,
    picture_seconds_fixed=0.0015,
)


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimizer step: `compute` on the device or its host, `loading` what is waited for data,
    `update` the optimizer's own, `communication` what is waited for other devices."""

    compute: float
    loading: float
    update: float
    communication: float

    @property
    def total(self) -> float:
        return self.compute + self.loading + self.update + self.communication


def estimate_step(run: RunSettings, batch: Batch) -> StepTime:
    """Return the time of one optimizer step of `accumulation` passes."""
    ceilings = CPU_CEILINGS if run.on_cpu else GPU_CEILINGS
    parameters = count_parameters(run)
    device = _estimate_device_seconds(run, batch, parameters, ceilings)
    host = _estimate_host_seconds(run, batch, ceilings)
    if run.on_cpu:
        compute = device + host
    else:
        compute = (device**ceilings.overlap + host**ceilings.overlap) ** (1 / ceilings.overlap)
    loading = estimate_loading(run, batch, ceilings)
    waited = loading if run.workers == 0 else max(0.0, loading / run.workers - compute)
    update = _estimate_update(run, parameters, ceilings)
    communication = _estimate_communication(run, parameters, compute * run.accumulation)
    return StepTime(compute * run.accumulation, waited * run.accumulation, update, communication)


# -- the device --------------------------------------------------------------------------------------------


def _estimate_device_seconds(
    run: RunSettings, batch: Batch, parameters: Parameters, ceilings: Ceilings
) -> float:
    flops = count_flops(run, batch)
    moved = _count_moved_bytes(run, batch, parameters)
    peak = run.gpu.flops_per_second * ceilings.matrix_share
    return flops / peak + moved / (run.gpu.bytes_per_second * ceilings.bandwidth_share)


def count_flops(run: RunSettings, batch: Batch) -> float:
    """Return the floating-point operations of one pass, forward and backward.

    A product of a token with a matrix costs two for every parameter. Backward, the gradient of the input costs the
    same again, that of the weight too where it is trained; checkpointing does the forward pass twice. Attention
    costs four for every pair of tokens and query channel, half of them masked away.
    """
    text = run.model.text
    layer = 2 * text.active_layer_parameters + 2 * text.query_width * batch.length
    head = 2 * text.embedding_parameters
    trained = 1.0 if run.finetuning_type == "full" else 0.0
    again = 1.0 if run.gradient_checkpointing else 0.0
    passes = 2.0 + again + trained
    if run.finetuning_type == "freeze" and not run.gradient_checkpointing:
        share = min(1.0, abs(run.trained_layers) / text.layers)
        passes = 1.0 + 2.0 * share
    flops = batch.tokens * (text.layers * layer * passes + head * (2.0 + trained))
    if run.finetuning_type == "lora":
        flops += 6 * batch.tokens * count_parameters(run).adapter
    if run.has_reference_model:
        flops += batch.tokens * (text.layers * layer + head)
    return flops + _count_vision_flops(run, batch)


def _count_vision_flops(run: RunSettings, batch: Batch) -> float:
    vision = run.model.vision
    if vision is None or not batch.pictures:
        return 0.0
    linear = 2 * vision.layer_parameters * vision.layers
    seen = batch.patches / max(1, batch.windows)
    full = vision.full_attention_layers if vision.window else vision.layers
    attention = 4 * vision.hidden * (full * batch.patches + (vision.layers - full) * seen)
    merger = 2 * vision.merger_parameters / vision.merge**2
    passes = 2.0 if run.keeps_vision_activations else 1.0
    if run.trains_vision:
        passes = 4.0 if run.gradient_checkpointing else 3.0
    if run.has_reference_model:
        passes += 1.0
    return batch.all_patches * (linear + attention + merger) * passes


def _count_moved_bytes(run: RunSettings, batch: Batch, parameters: Parameters) -> float:
    """Return the bytes that operations which are no matrix products read and write.

    A norm goes through its row about eight times in float32, rotary positions and residuals in half precision;
    each LoRA matrix casts its input twice. The loss goes through float32 logits about ten times.
    """
    text, width = run.model.text, run.compute_bytes
    hidden, wide = text.hidden, text.intermediate * text.active_experts
    norms = 2 * hidden * (8 if run.liger else 40)
    feed_forward = wide * width * (3 if run.liger else 5)
    rotary = (text.query_width + text.key_value_width) * width * (2 if run.liger else 10)
    residual = 6 * hidden * width
    adapters = 0.0
    if run.finetuning_type == "lora":
        inputs = sum(shape[0] for shape in text.list_linears().values())
        outputs = sum(shape[1] for shape in text.list_linears().values())
        adapters = inputs * (2 + 4 + 4 + 2 + 2) + outputs * 6 * width
    passes = 2.5 + (1.0 if run.gradient_checkpointing else 0.0) + (1.0 if run.has_reference_model else 0.0)
    layers = batch.tokens * text.layers * (norms + feed_forward + rotary + residual + adapters) * passes
    logits = batch.tokens * text.vocabulary * (6 if run.liger else 40)
    weights = 0.0
    if run.compute_bytes < run.trained_bytes:
        # Autocast makes a half-precision copy of every trained matrix in each forward pass.
        weights = parameters.trained_matrices * 6 * (2 if run.gradient_checkpointing else 1)
    vision = 0.0
    if run.model.vision is not None:
        shape = run.model.vision
        each = 80 * shape.hidden + 5 * width * shape.intermediate + 14 * 4 * shape.hidden
        vision = batch.all_patches * shape.layers * each * (2.5 if run.keeps_vision_activations else 1.0)
    return layers + logits + weights + vision


# -- the host ----------------------------------------------------------------------------------------------


def _estimate_host_seconds(run: RunSettings, batch: Batch, ceilings: Ceilings) -> float:
    """Return how long the host takes to launch one pass: on small models the device waits for it."""
    forward = _count_layer_operations(run) * run.model.text.layers + 60
    backward = 1.2 * forward
    if run.gradient_checkpointing:
        forward *= 2
    if run.has_reference_model:
        forward += 50 * run.model.text.layers
    vision_forward = _count_vision_operations(run, batch)
    vision_backward = 1.2 * vision_forward if run.keeps_vision_activations or run.trains_vision else 0.0
    if run.has_reference_model:
        vision_forward *= 2
    return (forward + vision_forward) * ceilings.forward_operation_seconds + (
        backward + vision_backward
    ) * ceilings.backward_operation_seconds


def _count_layer_operations(run: RunSettings) -> float:
    """Count what a decoder layer launches: 7 products, 2 norms of 8, rotary 10, attention 8, gate 2, residuals 2."""
    count = 7 + (2 if run.liger else 16) + (2 if run.liger else 10) + 8 + 2 + 2
    if run.finetuning_type == "lora":
        # Two casts of the input, two of the weights, two products, a scaling and an addition for each matrix.
        count += 8 * len(run.model.text.list_linears())
    if run.model.text.experts > 1:
        count += 12 * run.model.text.experts
    return float(count)


def _count_vision_operations(run: RunSettings, batch: Batch) -> float:
    """Count what the tower launches; windows are attended one by one, about five operations each."""
    vision = run.model.vision
    if vision is None or not batch.pictures:
        return 0.0
    full = vision.full_attention_layers if vision.window else vision.layers
    calls = batch.pictures * (full + (vision.layers - full) * batch.windows)
    return vision.layers * 45 + calls * 6


# -- data, optimizer, other devices --------------------------------------------------------------------------


def estimate_loading(run: RunSettings, batch: Batch, ceilings: Ceilings) -> float:
    """Return the seconds one process takes to make one batch: decoding, scaling and cutting pictures."""
    seconds = batch.sequences * ceilings.example_seconds
    if batch.pictures:
        each = (
            ceilings.picture_seconds_fixed + ceilings.picture_seconds_per_megapixel * batch.patches * 196e-6
        )
        seconds += batch.pictures * each
    return seconds


def _estimate_update(run: RunSettings, parameters: Parameters, ceilings: Ceilings) -> float:
    """Return the optimizer step: Adam reads four numbers and writes three for each; clipping reads one more."""
    numbers = parameters.optimized / (run.gpu_count if run.zero_stage else 1)
    moved = numbers * (7 * 4 + 2 * 4)
    device = moved / (run.gpu.bytes_per_second * ceilings.bandwidth_share)
    if run.zero_offload:
        device = moved / 20e9
    return ceilings.step_seconds + max(device, parameters.tensors * ceilings.step_tensor_seconds)


def _estimate_communication(run: RunSettings, parameters: Parameters, compute: float) -> float:
    """Return what is waited for gradients, and for weights in ZeRO-3; half of it hides behind the backward pass."""
    if run.gpu_count == 1:
        return 0.0
    share = 2 * (run.gpu_count - 1) / run.gpu_count
    sent = parameters.optimized * run.trained_bytes * share
    if run.zero_stage == 3:
        sent += 1.5 * run.model.parameters * run.compute_bytes * share * run.accumulation
    seconds = sent / (run.gpu.link_bytes_per_second * 0.7) + 0.002 * run.accumulation
    return max(seconds - 0.5 * compute, 0.1 * seconds)
