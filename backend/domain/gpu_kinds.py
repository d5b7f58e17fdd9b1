"""Kinds of device: their published ceilings, memory and list price."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from backend.domain.protocol import Probe

GIB = 2**30
MIB = 2**20


@dataclass(frozen=True)
class GpuKind:
    """A kind of device.

    `flops_per_second`: dense matrix products in bfloat16 (float16 where there is no bfloat16, float32 on a CPU).
    `bytes_per_second`: its memory's bandwidth. `link_bytes_per_second`: to another such device of the same
    machine, one way. `has_bfloat16` is false where training falls back to float16. `known` is false for a kind
    the table does not hold: its figures are then those of a middling card and the estimate says so. `host_pace`
    and `picture_pace` say how much longer the host takes for an operation and for a picture than the machine on
    which the estimator's times were measured; `is_measured` that all these figures were measured where it stands.
    """

    id: str
    name: str
    memory_bytes: int
    flops_per_second: float
    bytes_per_second: float
    link_bytes_per_second: float
    price_per_hour_e4: int
    has_bfloat16: bool = True
    known: bool = True
    host_pace: float = 1.0
    picture_pace: float = 1.0
    is_measured: bool = False


def _gpu(
    kind_id: str,
    name: str,
    memory_mib: int,
    teraflops: float,
    gigabytes_per_second: float,
    link_gigabytes_per_second: float,
    price_per_hour: float,
    *,
    has_bfloat16: bool = True,
) -> GpuKind:
    return GpuKind(
        kind_id,
        name,
        memory_mib * MIB,
        teraflops * 1e12,
        gigabytes_per_second * 1e9,
        link_gigabytes_per_second * 1e9,
        round(price_per_hour * 10_000),
        has_bfloat16,
    )


# Dense rates with float32 accumulation and bandwidths as the makers' data sheets publish them. The memory is
# what the driver reports. Prices are list prices to start from, in the installation's currency.
_TABLE = (
    _gpu("h200", "NVIDIA H200", 143_771, 989, 4800, 450, 36.0),
    _gpu("h100", "NVIDIA H100", 81_559, 989, 3350, 450, 32.0),
    _gpu("h800", "NVIDIA H800", 81_559, 989, 3350, 200, 30.72),
    _gpu("h20", "NVIDIA H20", 97_871, 148, 4000, 450, 14.0),
    _gpu("a800", "NVIDIA A800", 81_920, 312, 2039, 200, 16.0),
    _gpu("a100", "NVIDIA A100", 81_920, 312, 2039, 300, 16.0),
    _gpu("a100-40g", "NVIDIA A100 40G", 40_960, 312, 1555, 300, 12.0),
    _gpu("l40s", "NVIDIA L40S", 46_068, 362, 864, 25, 8.0),
    _gpu("l20", "NVIDIA L20", 46_068, 119.5, 864, 25, 6.0),
    _gpu("rtx4090", "NVIDIA RTX 4090", 24_564, 165, 1008, 25, 3.0),
    _gpu("rtx5090", "NVIDIA RTX 5090", 32_607, 209.5, 1792, 50, 4.5),
    _gpu("rtx6000ada", "NVIDIA RTX 6000 Ada", 49_140, 364, 960, 25, 7.0),
    _gpu("a10", "NVIDIA A10", 23_028, 125, 600, 25, 3.0),
    _gpu("v100", "NVIDIA V100", 32_768, 125, 900, 150, 4.0, has_bfloat16=False),
    _gpu("910b", "Ascend 910B", 65_536, 320, 1600, 28, 10.0),
)
_KINDS = {kind.id: kind for kind in _TABLE}

# How the names of some are also written, as they stand between hyphens.
_SPELLINGS = {
    "rtx4090": "(?:rtx-?)?4090",
    "rtx5090": "(?:rtx-?)?5090",
    "rtx6000ada": "(?:rtx-?)?6000-?ada",
    "910b": "(?:ascend-?)?910b[0-9]?",
}

# One slot of a machine without GPUs: a core or two of a server, in float32.
CPU = GpuKind("cpu", "CPU", 16 * GIB, 150e9, 25e9, 5e9, 3000)

_UNKNOWN = GpuKind("", "", 24 * GIB, 150e12, 900e9, 25e9, 30_000, known=False)


# What the same probes found on the machines on which the estimator's shares and times were fitted: an H200 with its
# host (the mean of two runs, benchmarks/measured/h200.jsonl), and one thread of a 2-core server.
_FITTED_ON = (
    _KINDS["h200"],
    Probe(
        kind="h200",
        flops_per_second=783.7e12,
        bytes_per_second=4232.5e9,
        operation_seconds=28.5e-6,
        picture_seconds=0.0656,
    ),
)
_FITTED_ON_CPU = (
    CPU,
    Probe(
        kind="cpu",
        flops_per_second=114e9,
        bytes_per_second=40.6e9,
        operation_seconds=5.7e-6,
        picture_seconds=0.021,
    ),
)


def describe_gpu_kind(kind_id: str, memory_bytes: int | None = None, probe: Probe | None = None) -> GpuKind:
    """Return what is known of a kind such as `h800-80g`, `nvidia-h200` or `cpu`.

    `memory_bytes` is what the machine itself reports, and then counts; so does what a `probe` measured on it. A
    kind the table lacks is described by a middling card's figures under its own name, with `known` false, unless
    it was probed.
    """
    kind = _find(kind_id)
    if kind is None:
        kind = replace(_UNKNOWN, id=kind_id, name=kind_id)
    reported = memory_bytes or _read_memory(kind_id)
    if kind.id == "a100" and reported and reported < 60 * GIB:
        kind = _KINDS["a100-40g"]
    kind = replace(kind, id=kind_id, memory_bytes=reported or kind.memory_bytes)
    return kind if probe is None else _scale(kind, probe)


def _scale(kind: GpuKind, probe: Probe) -> GpuKind:
    """Replace published figures by measured ones.

    Training reaches a share of what a probe finds that is about the same on all cards. The estimator's shares are of
    the published figures of the card on which they were fitted, so each rate is that card's published one times what
    this card's probe found against what that card's did.
    """
    fitted_on, reference = _FITTED_ON_CPU if kind.id.startswith("cpu") else _FITTED_ON
    return replace(
        kind,
        flops_per_second=fitted_on.flops_per_second * probe.flops_per_second / reference.flops_per_second,
        bytes_per_second=fitted_on.bytes_per_second * probe.bytes_per_second / reference.bytes_per_second,
        host_pace=probe.operation_seconds / reference.operation_seconds,
        picture_pace=probe.picture_seconds / reference.picture_seconds,
        known=True,
        is_measured=True,
    )


def _find(kind_id: str) -> GpuKind | None:
    plain = re.sub(r"[^a-z0-9]+", "-", kind_id.lower())
    if re.match(r"cpu\b", plain):
        return CPU
    for name, kind in _KINDS.items():
        if re.search(rf"(?<![a-z0-9]){_SPELLINGS.get(name, name)}(?![0-9])", plain):
            return kind
    return None


def _read_memory(kind_id: str) -> int | None:
    """Read the memory that an id such as `h800-80g` names."""
    found = re.search(r"[-_ ]([0-9]{1,4})(?:g|gb|gib)\b", kind_id.lower())
    return int(found.group(1)) * GIB if found else None
