"""How long one step takes: the counted work against the device's ceilings, the host's, and the loading of data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

from backend.domain.estimate.batch import Batch
from backend.domain.estimate.parameters import Parameters, count_parameters
from backend.domain.estimate.run_settings import RunSettings
from backend.domain.estimate.work import Pass, Work, count_pass


@dataclass(frozen=True)
class Ceilings:
    """Shares of a device's published ceilings that training reaches, and what its host takes for what it does.

    `matrix_share` is of `GpuKind`'s rate of products; `bandwidth_share` and, for the optimizer's long streams,
    `stream_share` are of its bandwidth. An operation launched by Python in the forward
    pass takes `forward_seconds`, one that autograd launches `backward_seconds`. Loading a picture takes
    `decode_seconds` for each megapixel of the file and `scale_seconds` for each that is kept. These few are fitted
    on measured runs (docs/estimator.md); all else is counted.
    """

    matrix_share: float
    bandwidth_share: float
    stream_share: float
    forward_seconds: float
    backward_seconds: float
    step_seconds: float
    tensor_seconds: float
    decode_seconds: float
    scale_seconds: float
    example_seconds: float
    sharpness: float


GPU_CEILINGS = Ceilings(
    matrix_share=0.72,
    bandwidth_share=0.63,
    stream_share=0.87,
    forward_seconds=28.7e-6,
    backward_seconds=19.4e-6,
    step_seconds=0.0124,
    tensor_seconds=25e-6,
    decode_seconds=0.019,
    scale_seconds=0.07,
    example_seconds=0.0003,
    sharpness=4.0,
)
CPU_CEILINGS = Ceilings(
    matrix_share=0.67,
    bandwidth_share=0.73,
    stream_share=0.73,
    forward_seconds=10.3e-6,
    backward_seconds=7.5e-6,
    step_seconds=0.0056,
    tensor_seconds=10e-6,
    decode_seconds=0.0072,
    scale_seconds=0.04,
    example_seconds=0.0003,
    sharpness=1.0,
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


def choose_ceilings(run: RunSettings) -> Ceilings:
    """Return the ceilings of the run's kind of device, at the pace of its host."""
    fitted, gpu = CPU_CEILINGS if run.on_cpu else GPU_CEILINGS, run.gpu
    if not gpu.is_measured:
        return fitted
    return replace(
        fitted,
        forward_seconds=fitted.forward_seconds * gpu.host_pace,
        backward_seconds=fitted.backward_seconds * gpu.host_pace,
        step_seconds=fitted.step_seconds * gpu.host_pace,
        tensor_seconds=fitted.tensor_seconds * gpu.host_pace,
        example_seconds=fitted.example_seconds * gpu.host_pace,
        decode_seconds=fitted.decode_seconds * gpu.picture_pace,
        scale_seconds=fitted.scale_seconds * gpu.picture_pace,
    )


def estimate_step(run: RunSettings, batch: Batch, ceilings: Ceilings | None = None) -> StepTime:
    """Return the time of one optimizer step of `accumulation` passes."""
    ceilings = ceilings or choose_ceilings(run)
    parameters = count_parameters(run)
    compute = _estimate_pass(run, count_pass(run, batch), ceilings)
    loading = estimate_loading(run, batch, ceilings)
    waited = loading if run.workers == 0 else max(0.0, loading / run.workers - compute)
    update = _estimate_update(run, parameters, ceilings)
    passes = run.accumulation * compute
    communication = _estimate_communication(run, parameters, passes)
    communication += _estimate_straggling(run, batch, passes + run.accumulation * waited)
    return StepTime(passes, waited * run.accumulation, update, communication)


def _estimate_pass(run: RunSettings, work: Pass, ceilings: Ceilings) -> float:
    """Return the seconds of one pass, each of its four stretches bound by the device or by its host."""
    forward, backward = ceilings.forward_seconds, ceilings.backward_seconds
    stretches = (
        (work.vision_forward, work.vision_forward.launches * forward),
        (work.forward, work.forward.launches * forward),
        (work.backward + work.again, work.backward.launches * backward + work.again.launches * forward),
        (work.vision_backward, work.vision_backward.launches * backward),
    )
    return sum(bind(estimate_device(run, work, ceilings), host, ceilings) for work, host in stretches)


def estimate_forward(run: RunSettings, work: Work, ceilings: Ceilings) -> float:
    """Return the seconds of a forward pass without gradients."""
    return bind(estimate_device(run, work, ceilings), work.launches * ceilings.forward_seconds, ceilings)


def bind(device: float, host: float, ceilings: Ceilings) -> float:
    """Return the larger of the two, or somewhat more where they are alike: they do not overlap perfectly."""
    power = ceilings.sharpness
    return float((device**power + host**power) ** (1 / power)) if device + host > 0 else 0.0


def estimate_device(run: RunSettings, work: Work, ceilings: Ceilings) -> float:
    """Return the seconds the device takes for `work`, if it never waits."""
    products = work.flops / (run.gpu.flops_per_second * ceilings.matrix_share)
    return products + work.moved / (run.gpu.bytes_per_second * ceilings.bandwidth_share)


# -- data, optimizer, other devices ------------------------------------------------------------------------


def estimate_loading(run: RunSettings, batch: Batch, ceilings: Ceilings) -> float:
    """Return the seconds one process takes to make one batch: decoding, scaling and cutting pictures."""
    seconds = batch.sequences * ceilings.example_seconds
    if batch.pictures and run.model.vision is not None:
        kept = batch.patches * run.model.vision.patch**2 / 1e6
        decode = batch.picture_pixels / 1e6 * ceilings.decode_seconds
        seconds += batch.pictures * (decode + kept * ceilings.scale_seconds)
    return seconds


def _estimate_update(run: RunSettings, parameters: Parameters, ceilings: Ceilings) -> float:
    """Return the optimizer step: clipping reads every gradient twice and writes it, Adam reads four numbers for each
    parameter and writes three."""
    numbers = parameters.optimized / (run.gpu_count if run.zero_stage else 1)
    moved = numbers * run.trained_bytes * 10
    device = moved / (run.gpu.bytes_per_second * ceilings.stream_share)
    if run.zero_offload:
        device = moved / _HOST_BYTES_PER_SECOND
    return ceilings.step_seconds + max(device, parameters.tensors * ceilings.tensor_seconds)


_HOST_BYTES_PER_SECOND = 20e9

_PASS_NOISE = 0.11
"""How far the times of equal passes of one step scatter, as a share: measured on 72 passes of Qwen2.5-VL-7B, of whose
times the largest of four is 11 % above the mean."""


_LONGEST_SPREAD = 0.7
"""How far the longest of a few scatters, as a share of how far each does."""


def _estimate_straggling(run: RunSettings, batch: Batch, seconds: float) -> float:
    """Return what the devices wait for the slowest of them, which is the expected largest of normal variates.

    They meet once in an optimizer step, where slow and fast passes have partly evened out; but where tokens are
    counted (`include_num_input_tokens_seen`) transformers gathers the count before every single pass.
    """
    if run.gpu_count == 1:
        return 0.0
    largest = NormalDist().inv_cdf((run.gpu_count - 0.375) / (run.gpu_count + 0.25))
    spread = math.hypot(_PASS_NOISE, _LONGEST_SPREAD * batch.length_spread)
    return seconds * largest * spread / math.sqrt(1 if run.counts_tokens else run.accumulation)


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
