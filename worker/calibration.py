"""`tuneforge calibrate`: what this machine's devices and their host really reach, measured and told to the backend."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable

import numpy
import torch
from PIL import Image

from backend.domain.protocol import Calibration, Probe
from worker.api import Away, BackendClient, Refused
from worker.gpus import CPU_KIND, DeviceInventory
from worker.roster import Roster
from worker.settings import WorkerSettings

PICTURE_SIZE = (1928, 1208)
_KEPT_SIZE = (958, 600)
_REPEATS = 5


def calibrate(settings: WorkerSettings, inventory: DeviceInventory, *, while_busy: bool) -> int:
    """Probe one device of each kind of this node and send what was found; return the exit code."""
    if Roster(settings.run_folder).list_entries() and not while_busy:
        print(
            "Jobs run on this node, and would be measured along. Drain it first (administrator's page), or say "
            "--while-busy.",
            file=sys.stderr,
        )
        return 1
    devices = {device.kind: device for device in inventory.list_devices()}
    probes = []
    for kind, device in devices.items():
        print(f"Measuring {device.name} …", flush=True)
        probe = probe_cpu(kind) if kind == CPU_KIND else probe_gpu(kind, device.index)
        print(describe(probe), flush=True)
        probes.append(probe)
    try:
        client = BackendClient(settings.server_url, settings.node_token)
        client.calibrate(Calibration(name=settings.node_name, probes=probes))
    except (Away, Refused) as error:
        print(f"The backend did not take it: {error}", file=sys.stderr)
        return 1
    print("Estimates for this node's devices rest on these figures from now on.")
    return 0


def describe(probe: Probe) -> str:
    """Return a probe's figures for a person."""
    return (
        f"  matrix products {probe.flops_per_second / 1e12:.3g} TFLOP/s, memory {probe.bytes_per_second / 1e9:.4g} GB/s, "
        f"an operation with its gradient {probe.operation_seconds * 1e6:.1f} µs, a picture {probe.picture_seconds:.3f} s"
    )


def probe_gpu(kind: str, index: int) -> Probe:
    """Measure a CUDA device in bfloat16 (float16 where it has none), by the clock."""
    device = torch.device("cuda", index)
    with torch.cuda.device(device):
        half = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16

        def take_time(work: Callable[[], object], times: int) -> float:
            return _take_time(work, times, time.perf_counter, torch.cuda.synchronize)

        return _probe(kind, device, half, 8192, 2**31, take_time)


def probe_cpu(kind: str) -> Probe:
    """Measure one thread in float32, by its own CPU seconds: other processes do not count."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:

        def take_time(work: Callable[[], object], times: int) -> float:
            return _take_time(work, times, time.thread_time, lambda: None)

        return _probe(kind, torch.device("cpu"), torch.float32, 1024, 2**28, take_time)
    finally:
        torch.set_num_threads(threads)


def _probe(
    kind: str,
    device: torch.device,
    dtype: torch.dtype,
    size: int,
    block_bytes: int,
    take_time: Callable[[Callable[[], object], int], float],
) -> Probe:
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product = take_time(lambda: left @ right, 20)
    block = torch.zeros(block_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(block)
    copy = take_time(lambda: target.copy_(block), 10)
    leaf = torch.zeros(16, device=device, requires_grad=True)

    def compute_with_gradient() -> None:
        value = leaf
        for _ in range(1000):
            value = value * 1.0001
        value.sum().backward()

    operation = take_time(compute_with_gradient, 5) / 1000
    picture = make_picture(1)
    return Probe(
        kind=kind,
        flops_per_second=2 * size**3 / product,
        bytes_per_second=2 * block_bytes / copy,
        operation_seconds=operation,
        picture_seconds=_take_time(lambda: load_picture(picture), 5, time.thread_time, lambda: None),
    )


def _take_time(
    work: Callable[[], object], times: int, clock: Callable[[], float], wait: Callable[[], object]
) -> float:
    """Return the seconds of one `work`: the shortest of a few rounds, as whatever else happens only makes it longer."""
    for _ in range(3):
        work()
    rounds = []
    for _ in range(_REPEATS):
        wait()
        begun = clock()
        for _ in range(times):
            work()
        wait()
        rounds.append((clock() - begun) / times)
    return min(rounds)


def make_picture(seed: int) -> bytes:
    """Return a JPEG with the detail of a photograph: soft shapes with fine grain."""
    generator = numpy.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 255, (19, 30, 3), dtype=numpy.uint8))
    smooth = numpy.asarray(coarse.resize(PICTURE_SIZE, Image.Resampling.BICUBIC), dtype=numpy.int16)
    grain = generator.normal(0, 6, (PICTURE_SIZE[1], PICTURE_SIZE[0], 1)).astype(numpy.int16)
    picture = Image.fromarray(numpy.clip(smooth + grain, 0, 255).astype(numpy.uint8))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


def load_picture(data: bytes) -> bytes:
    """Decode and scale a picture, as a processor does."""
    with Image.open(io.BytesIO(data)) as picture:
        return bytes(picture.resize(_KEPT_SIZE).convert("RGB").tobytes())
