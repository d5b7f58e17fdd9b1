"""The node's last readings of its devices, which it leaves for its supervisors: so only one process asks NVML."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from backend.domain.protocol import Device
from worker.checkpoints import read_json
from worker.workspace import replace_text

_FILE = "devices.json"


@dataclass(frozen=True)
class Readings:
    """The devices as read at a time (Unix seconds; 0 for never)."""

    at: float
    devices: list[Device]


def write_devices(run_folder: Path, devices: list[Device]) -> None:
    """Leave readings for the supervisors."""
    content = {"at": time.time(), "devices": [device.model_dump() for device in devices]}
    with suppress(OSError):
        replace_text(run_folder / _FILE, json.dumps(content))


def read_devices(run_folder: Path) -> Readings:
    """Return the last readings."""
    found = read_json(run_folder / _FILE)
    try:
        devices = [Device.model_validate(device) for device in found["devices"]]
        return Readings(float(found["at"]), devices)
    except (TypeError, KeyError, ValueError, ValidationError):
        return Readings(0.0, [])
