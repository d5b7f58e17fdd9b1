"""What one pass does, counted: products, bytes moved by everything else, and operations the host launches.

Bytes and launches are read off the eager code of transformers and PEFT, operation by operation: a cast from half
to single precision reads 2 bytes and writes 4, an addition in half precision moves 6, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass

from backend.domain.estimate.batch import Batch
from backend.domain.estimate.run_settings import RunSettings
from backend.domain.model_facts import TextShape, VisionShape

_LAUNCHES_AN_ADAPTER = 13.0
_LAUNCHES_BACK_AN_ADAPTER = 5.0
_LAUNCHES_A_WINDOW = 1.9
_LAUNCHES_BACK_A_WINDOW = 3.2
_LAUNCHES_ALL_WINDOWS = 6.0
_LAUNCHES_AN_INT8_MATRIX = 9.0
"""What PEFT does around each matrix, transformers around each window of a picture or all of them at once, and
bitsandbytes around a matrix of eight bits, as multiples of the time of one operation: measured."""


@dataclass(frozen=True)
class Work:
    """`flops` of matrix products and attention, `moved` bytes of other operations, `launches` by the host."""

    flops: float = 0.0
    moved: float = 0.0
    launches: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.moved + other.moved, self.launches + other.launches)

    def __mul__(self, times: float) -> Work:
        return Work(self.flops * times, self.moved * times, self.launches * times)


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass of one device.

    `again` is what is launched like a forward pass while going backward: gradient checkpointing's recomputation.
    The vision tower runs before the decoder and is waited for by itself, so it is counted by itself.
    """

    forward: Work
    backward: Work
    again: Work
    vision_forward: Work
    vision_backward: Work


def count_pass(run: RunSettings, batch: Batch) -> Pass:
    """Return the work of one pass with gradients; a preference stage's reference pass counts as forward."""
    text = run.model.text
    lowest = find_lowest_trained_layer(run)
    through = text.layers - lowest
    layer = count_layer_forward(run, batch)
    forward = layer * text.layers + _count_loss_forward(run, batch)
    if run.has_reference_model:
        plain = count_layer_forward(run, batch, adapted=False)
        forward += plain * text.layers + _count_loss_forward(run, batch)
    backward = _count_layer_backward(run, batch) * through + _count_loss_backward(run, batch)
    again = layer * through if run.gradient_checkpointing else Work()
    vision = _count_vision_forward(run, batch)
    vision_backward = Work()
    if run.trains_vision or run.keeps_vision_activations:
        factor = 2.0 if run.trains_vision else 1.0
        vision_backward = Work(
            vision.flops * factor, vision.moved * 1.5, _count_vision_launches(run, batch, back=True)
        )
    if run.trains_vision and run.gradient_checkpointing:
        vision_backward += vision
    return Pass(forward, backward, again, vision * (2.0 if run.has_reference_model else 1.0), vision_backward)


def count_prefill(run: RunSettings, batch: Batch) -> tuple[Work, Work]:
    """Return the decoder's and the vision tower's work of reading a batch of prompts, adapters merged."""
    text = run.model.text
    # Only the last position's logits are made.
    head = Work(2.0 * batch.sequences * text.embedding_parameters, 0.0, 60)
    layers = count_layer_forward(run, batch, adapted=False) * text.layers
    return layers + head, _count_vision_forward(run, batch)


def find_lowest_trained_layer(run: RunSettings) -> int:
    """Return the first decoder layer that a gradient reaches: all are reached unless only the last are trained."""
    if run.finetuning_type != "freeze" or run.trained_layers < 0:
        return 0
    return max(0, run.model.text.layers - run.trained_layers)


# -- the decoder -------------------------------------------------------------------------------------------


def _list_active_linears(text: TextShape) -> list[tuple[int, int, float]]:
    """Return every matrix a token meets in a layer, as inputs, outputs and how many of its kind."""
    linears = [(inputs, outputs, 1.0) for inputs, outputs in text.linears.values()]
    if text.experts > 1:
        wide = text.intermediate
        linears += [(text.hidden, wide, 2.0 * text.active_experts), (wide, text.hidden, text.active_experts)]
    return linears


def _sum_widths(text: TextShape) -> tuple[float, float, float]:
    """Return the inputs and outputs of all matrices of a layer, summed, and their number."""
    linears = _list_active_linears(text)
    return (
        sum(inputs * count for inputs, _, count in linears),
        sum(outputs * count for _, outputs, count in linears),
        sum(count for _, _, count in linears),
    )


def count_layer_forward(run: RunSettings, batch: Batch, *, adapted: bool = True) -> Work:
    """Return one decoder layer's forward pass over all tokens of the batch."""
    text, width = run.model.text, run.compute_bytes
    inputs, outputs, matrices = _sum_widths(text)
    single = run.finetuning_type == "full" and run.trained_bytes > width
    residual = 4 if single else width
    norm = (2 * residual + width) if run.liger else (5 * 4 + 2 * residual + 3 * width)
    norm += 3 * 8 if single else 0  # a cast for each product that reads it
    gate = (3 if run.liger else 5) * width * text.intermediate * text.active_experts
    rotary = (2 if run.liger else 8) * width * (text.query_width + text.key_value_width)
    moved = 2 * norm * text.hidden + 6 * residual * text.hidden + gate + rotary + width * (inputs + outputs)
    launches = matrices + (2 if run.liger else 16) + (2 if run.liger else 12) + 10 + 3 + 2
    if batch.padded and not run.has_flash_attention:
        moved += 4 * width * text.query_width  # keys and values repeated for every query head
        launches += 4
    if text.experts > 1:
        launches += 12 * text.experts
    if run.finetuning_type == "lora" and adapted:
        # x → float32 → half (12 bytes), A's input; B's output scaled and added.
        casts = 12 if width < 4 else 0
        moved += (casts + width) * inputs + 7 * width * outputs
        launches += _LAUNCHES_AN_ADAPTER * matrices
    if single:
        moved += 6 * text.active_layer_parameters / max(1.0, batch.tokens)
        launches += matrices
    if run.attention == "disabled":
        moved += text.heads * batch.length * (4 * width + 12)
    if run.quantization_bit:
        # Every matrix is written out in half precision before it is used.
        moved += (run.quantization_bit / 8 + 2 * width) * text.layer_parameters / max(1.0, batch.tokens)
        launches += (2 if run.quantization_bit < 8 else _LAUNCHES_AN_INT8_MATRIX) * matrices
    flops = 2 * text.active_layer_parameters + 2 * text.query_width * batch.length
    if run.finetuning_type == "lora" and adapted:
        flops += 2 * run.lora_rank * (inputs + outputs)
    return Work(flops * batch.tokens, moved * batch.tokens, launches)


def _count_layer_backward(run: RunSettings, batch: Batch) -> Work:
    """Return one decoder layer's backward pass: gradients of inputs, of trained weights too where there are any."""
    text, width = run.model.text, run.compute_bytes
    inputs, outputs, matrices = _sum_widths(text)
    forward = count_layer_forward(run, batch, adapted=False)
    trained = run.finetuning_type in ("full", "freeze")
    moved = 1.6 * forward.moved / batch.tokens
    attention = 2.5 * 2 * text.query_width * batch.length
    flops = 2 * text.active_layer_parameters * (2.0 if trained else 1.0) + attention
    launches = 1.3 * forward.launches
    if run.finetuning_type == "lora":
        casts = 12 if width < 4 else 0
        moved += (5 * width + casts) * inputs + 5 * width * outputs
        flops += 4 * run.lora_rank * (inputs + outputs)
        launches += _LAUNCHES_BACK_AN_ADAPTER * matrices
    elif trained:
        # Half-precision gradients are cast, and added to those of earlier passes.
        added = 3 * run.trained_bytes * (run.accumulation - 1) / run.accumulation
        per_weight = width + run.trained_bytes + added
        moved += per_weight * text.layer_parameters / batch.tokens
        launches += 3 * matrices
    return Work(flops * batch.tokens, moved * batch.tokens, launches)


def _count_loss_forward(run: RunSettings, batch: Batch) -> Work:
    """Return the output layer and the loss: half-precision logits, cast, log-probabilities, cast once more."""
    text = run.model.text
    numbers = batch.tokens * text.vocabulary
    flops = 2.0 * batch.tokens * text.embedding_parameters
    if run.liger and run.stage in ("sft", "pt"):
        # The fused loss makes the gradient of its input at once.
        return Work(2 * flops, 14.0 * numbers, 400)
    moved = numbers * (40.0 if run.stage in ("dpo", "kto") else 28.0)
    return Work(flops, moved, 80)


def _count_loss_backward(run: RunSettings, batch: Batch) -> Work:
    text = run.model.text
    numbers = batch.tokens * text.vocabulary
    trained = run.finetuning_type == "full"
    if run.liger and run.stage in ("sft", "pt"):
        return Work(2.0 * batch.tokens * text.embedding_parameters if trained else 0.0, 0.0, 5)
    flops = 2.0 * batch.tokens * text.embedding_parameters * (2.0 if trained else 1.0)
    moved = numbers * (36.0 if run.stage in ("dpo", "kto") else 26.0)
    if trained:
        moved += 16.0 * text.embedding_parameters
    return Work(flops, moved, 30)


# -- the vision tower ----------------------------------------------------------------------------------------


def _count_vision_forward(run: RunSettings, batch: Batch) -> Work:
    """Return the tower's forward pass over all pictures of the batch."""
    vision = run.model.vision
    if vision is None or not batch.pictures:
        return Work()
    width = run.compute_bytes
    full = vision.full_attention_layers if vision.window else vision.layers
    seen = batch.patches / max(1, batch.windows)
    attention = 4 * vision.hidden * (full * batch.patches + (vision.layers - full) * seen)
    merger = 2 * vision.merger_parameters / vision.merge**2
    flops = 2 * vision.layer_parameters * vision.layers + attention + merger
    moved = vision.layers * _count_vision_bytes(vision, width)
    launches = _count_vision_launches(run, batch)
    return Work(flops * batch.all_patches, moved * batch.all_patches, launches)


def _count_vision_launches(run: RunSettings, batch: Batch, *, back: bool = False) -> float:
    """Return the tower's operations of a pass forward, or back.

    Unless windows are joined, transformers attends to every window by itself, in a
    loop: a picture cut into 54 windows launches 54 times what a whole one does.
    """
    vision = run.model.vision
    if vision is None:
        return 0.0
    if run.joins_windows:
        attention = _LAUNCHES_ALL_WINDOWS * vision.layers
    else:
        full = vision.full_attention_layers if vision.window else vision.layers
        calls = batch.pictures * (full + (vision.layers - full) * batch.windows)
        attention = (_LAUNCHES_BACK_A_WINDOW if back else _LAUNCHES_A_WINDOW) * calls
    return 42 * vision.layers + attention + 60


def _count_vision_bytes(vision: VisionShape, width: int) -> float:
    """Return the bytes a patch moves in a layer: norms and rotary positions in float32, the rest as computed."""
    norms = 2 * (5 * 4 + 5 * width) * vision.hidden
    rotary = 2 * (4 * width + 8 * 4) * vision.hidden
    products = width * (8 * vision.hidden + 3 * vision.intermediate)
    gate = (5 if vision.gated else 2) * width * vision.intermediate
    return norms + rotary + products + gate + 6 * width * vision.hidden
