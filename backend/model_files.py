"""A model's folder as it lies on disk: is it whole, how many parameters it holds, and what its config says."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.storage import read_json

MAX_HEADER_BYTES = 100 << 20
"""The safetensors format allows no longer header."""
WEIGHTS_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class ModelFolder:
    """What a whole model folder holds; `parameters` is counted from the headers of its weights."""

    config: dict[str, Any]
    parameters: int


def read_model_folder(folder: Path) -> ModelFolder | None:
    """Return what the folder holds, or None when it is no model in safetensors or not all of it is there yet.

    A file that is still being copied is shorter than its header says.
    """
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        return None
    names = _list_weights(folder)
    counts = [count_parameters(folder / name) for name in names]
    if not counts or None in counts:
        return None
    return ModelFolder(config, sum(count for count in counts if count is not None))


def _list_weights(folder: Path) -> list[str]:
    index = read_json(folder / WEIGHTS_INDEX)
    if isinstance(index, dict) and isinstance(index.get("weight_map"), dict):
        return sorted({str(name) for name in index["weight_map"].values()})
    if (folder / WEIGHTS_INDEX).exists():
        return []
    return sorted(path.name for path in folder.glob("model*.safetensors"))


def count_parameters(path: Path) -> int | None:
    """Return how many numbers a safetensors file holds, or None when it is none or is not whole."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(MAX_HEADER_BYTES, size):
                return None
            header = json.loads(file.read(length))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        end = max((int(entry["data_offsets"][1]) for entry in tensors), default=0)
        if size != 8 + length + end:
            return None
        return sum(math.prod(int(width) for width in entry["shape"]) for entry in tensors)
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return None
