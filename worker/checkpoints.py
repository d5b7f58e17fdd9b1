"""Which checkpoints of a run are whole: a killed run, or a full disk, leaves half-written ones."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

STATE_FILE = "trainer_state.json"
_FOLDER = re.compile(r"^checkpoint-([0-9]{1,9})$")
_FSDP_WEIGHTS = "pytorch_model_fsdp.bin"
_INDEX_FILES = ("model.safetensors.index.json", "adapter_model.safetensors.index.json")
_MAX_HEADER_BYTES = 100 << 20


def list_checkpoints(output: Path) -> list[tuple[int, Path]]:
    """Return (step, folder) of every checkpoint folder in `output`, whole or not, the newest first."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(output):
            match = _FOLDER.match(entry.name)
            if match and entry.is_dir(follow_symlinks=False):
                found.append((int(match.group(1)), Path(entry.path)))
    return sorted(found, reverse=True)


def find_whole_checkpoint(output: Path) -> tuple[int, Path] | None:
    """Return (step, folder) of the newest checkpoint from which training can go on."""
    return next((found for found in list_checkpoints(output) if is_whole(found[1])), None)


def is_whole(folder: Path) -> bool:
    """Whether training can go on from the checkpoint: trainer's state, weights and optimizer all complete.

    Only lengths and headers are read, never the weights themselves. transformers writes the trainer's state
    last, but other ranks may still have been writing theirs, so every file is looked at.
    """
    match = _FOLDER.match(folder.name)
    state = read_json(folder / STATE_FILE)
    if match is None or not isinstance(state, dict) or state.get("global_step") != int(match.group(1)):
        return False
    files = [path for path in folder.iterdir() if path.is_file()]
    if not all(_is_file_whole(path) for path in files):
        return False
    return _has_weights(folder) and _has_optimizer(folder)


def is_safetensors_whole(path: Path) -> bool:
    """Whether the file is as long as its header says.

    The format is eight bytes with the header's length (little endian), the header (JSON with every tensor's
    `data_offsets`), and the data: https://github.com/huggingface/safetensors#format
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(size - 8, _MAX_HEADER_BYTES):
                return False
            header = json.loads(file.read(length))
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return False
    return size == 8 + length + max(ends, default=0)


def _is_file_whole(path: Path) -> bool:
    if path.suffix == ".safetensors":
        return is_safetensors_whole(path)
    if path.suffix in (".pt", ".pth", ".bin"):
        return _is_torch_file_whole(path)
    if path.suffix == ".json":
        return read_json(path) is not None
    return True


def _is_torch_file_whole(path: Path) -> bool:
    """A file of `torch.save` is a ZIP archive, whose directory is written last, at its end."""
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(archive.infolist())
    except (OSError, zipfile.BadZipFile, ValueError):
        return False


def _has_weights(folder: Path) -> bool:
    for name in _INDEX_FILES:
        index = read_json(folder / name)
        if isinstance(index, dict):
            shards = set(index.get("weight_map", {}).values())
            return bool(shards) and all((folder / str(shard)).is_file() for shard in shards)
    single = (
        "adapter_model.safetensors",
        "model.safetensors",
        "pytorch_model.bin",
        "adapter_model.bin",
        _FSDP_WEIGHTS,
    )
    return any((folder / name).is_file() for name in single) or _is_sharded_by_rank(folder)


def _has_optimizer(folder: Path) -> bool:
    # Gathered from all GPUs, FSDP's is called otherwise.
    single = ("optimizer.pt", "optimizer.bin")
    return any((folder / name).is_file() for name in single) or _is_sharded_by_rank(folder)


def _is_sharded_by_rank(folder: Path) -> bool:
    """DeepSpeed names its last folder in `latest`; FSDP has a folder `optimizer_0` with a `.metadata`."""
    with contextlib.suppress(OSError):
        latest = (folder / "latest").read_text().strip()
        shards = list((folder / latest).glob("*.pt")) if latest and "/" not in latest else []
        return bool(shards) and all(_is_torch_file_whole(shard) for shard in shards)
    return (folder / "optimizer_0" / ".metadata").is_file()


def link_checkpoints(source_output: Path, step: int, output: Path) -> None:
    """Hard-link checkpoint `step`, and the best one so far if it is another, into the fresh `output`.

    Each appears under its name only when it is complete, the older first: transformers deletes the oldest.
    """
    steps = {step}
    state = read_json(source_output / f"checkpoint-{step}" / STATE_FILE)
    best = _FOLDER.match(Path(str((state or {}).get("best_model_checkpoint"))).name)
    if best and is_whole(source_output / best.group(0)):
        steps.add(int(best.group(1)))
    for each in sorted(steps):
        name = f"checkpoint-{each}"
        draft = output / f".{name}"
        shutil.copytree(source_output / name, draft, copy_function=_link_or_copy, symlinks=True)
        draft.rename(output / name)


def remove_half_written(output: Path) -> None:
    """Remove the checkpoints from which nothing can go on, to make room on a full disk."""
    for _, folder in list_checkpoints(output):
        if not is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target, follow_symlinks=False)


def read_json(path: Path) -> Any:
    """Return what the file holds, or None when it is absent or not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
