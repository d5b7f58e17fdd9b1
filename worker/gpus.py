"""The devices of this machine: its GPUs by NVML, or slots of its CPUs where there are none."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from backend.domain.protocol import Device
from worker.marks import ATTEMPT_MARK

CPU_KIND = "cpu"
_CGROUP = Path("/sys/fs/cgroup")


class DeviceInventory:
    """Reads the devices; NVML is opened once and, should the driver have restarted, opened again."""

    def __init__(self, cpu_slots: int = 1, visible: str | None = None, nvml: Any = None) -> None:
        """`visible` restricts the GPUs to those it names, as CUDA_VISIBLE_DEVICES does, by uuid or PCI order."""
        self._cpu_slots = cpu_slots
        self._visible = None if visible is None else [name.strip() for name in visible.split(",")]
        self._nvml = nvml

    def list_devices(self) -> list[Device]:
        """Return all devices with their readings of now."""
        return self._list_gpus() or list_cpu_slots(self._cpu_slots)

    def _list_gpus(self) -> list[Device]:
        nvml = self._open()
        if nvml is None:
            return []
        try:
            count = nvml.nvmlDeviceGetCount()
            devices = [read_gpu(nvml, index) for index in range(count)]
            return [device for device in devices if self._is_visible(device)]
        except nvml.NVMLError:
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()
            self._nvml = None
            return []

    def _is_visible(self, device: Device) -> bool:
        return self._visible is None or device.uuid in self._visible or str(device.index) in self._visible

    def _open(self) -> Any:
        if self._nvml is None:
            with contextlib.suppress(Exception):
                import pynvml

                pynvml.nvmlInit()
                self._nvml = pynvml
        return self._nvml


def read_gpu(nvml: Any, index: int) -> Device:
    """Return GPU `index` (in PCI order, as NVML counts); what it does not tell stays None."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = _text(nvml.nvmlDeviceGetName(handle))
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)

    def ask(read: Callable[[], float]) -> float | None:
        try:
            return float(read())
        except nvml.NVMLError:
            return None

    power = ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    return Device(
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        kind=build_kind_id(name, int(memory.total)),
        name=name,
        index=index,
        memory_bytes=int(memory.total),
        host_memory_bytes=measure_memory(),
        memory_used_bytes=int(memory.used),
        utilization=ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        power_watts=None if power is None else power / 1000,
        temperature_celsius=ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        trouble=find_trouble(nvml, handle),
    )


def find_trouble(nvml: Any, handle: Any) -> str | None:
    """Return why nothing should run on a GPU: memory faults it has met, or processes that are not ours."""
    with contextlib.suppress(nvml.NVMLError):
        errors = nvml.nvmlDeviceGetTotalEccErrors(
            handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
        )
        if errors:
            return f"{errors} uncorrectable memory errors (ECC); reset or replace the GPU"
    with contextlib.suppress(nvml.NVMLError):
        pids = [process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
        strangers = [pid for pid in pids if is_stranger(pid)]
        if strangers:
            return f"used by processes that are not ours: {', '.join(map(str, strangers))}"[:200]
    return None


def is_stranger(pid: int) -> bool:
    """Whether a GPU's process is none of ours.

    In a container the driver tells pids of the machine, which here are nobody's, or somebody else's: so a
    process counts only when it is seen to have a GPU open, or is another user's.
    """
    try:
        if f"{ATTEMPT_MARK}=".encode() in Path(f"/proc/{pid}/environ").read_bytes():
            return False
        opened = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return any(name.startswith("/dev/nvidia") for name in opened)


def build_kind_id(name: str, memory_bytes: int) -> str:
    """Return the kind of a GPU by the name its driver gives: `NVIDIA H200` of 141 GB is `h200-141g`.

    The memory is in the id because one name comes in several sizes (A100 of 40 and 80 GB); rounded up to GiB,
    it is the number the makers print on most.
    """
    plain = re.sub(r"\b(?:nvidia|tesla|geforce|quadro|graphics|gpu)\b", " ", name.lower())
    plain = re.sub(r"\b\d+ ?gb\b|\b(?:hbm[0-9e]*|pcie|sxm[0-9]*|nvl)\b", " ", plain)
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "gpu"
    return f"{slug}-{math.ceil(memory_bytes / 2**30)}g"


def list_cpu_slots(count: int) -> list[Device]:
    """Return `count` slots of this machine's CPUs, which share its memory evenly."""
    memory = measure_memory()
    used = psutil.virtual_memory().used
    load = min(100.0, max(0.0, psutil.cpu_percent(interval=None)))
    return [
        Device(
            uuid=f"cpu-{index}",
            kind=CPU_KIND,
            name=read_cpu_name(),
            index=index,
            memory_bytes=memory // count,
            memory_used_bytes=min(used, memory) // count,
            utilization=load,
        )
        for index in range(count)
    ]


def measure_memory() -> int:
    """Return the bytes of memory this process may use: the machine's, or its cgroup's limit if that is less."""
    total = int(psutil.virtual_memory().total)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int((_CGROUP / name).read_text()))
    return total


def count_cpus() -> int:
    """Return the CPUs this process may use: those it is bound to, or its cgroup's share if that is less."""
    count = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        count = min(count, max(1, int(quota) // int(period)))
    return count


def read_cpu_name() -> str:
    """Return the CPU's name and how many of it there are."""
    model = "CPU"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model} ({count_cpus()} cores)"[:128]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
