"""Puts the demonstration into a home: each folder is made aside and moved into place whole, by one process at a time."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backend.domain.demonstration import (
    DEMONSTRATION_VERSION,
    DESCRIPTIONS,
    HELDOUT_DATASET_NAME,
    MODEL_NAME,
    TEMPLATE,
    TRAIN_DATASET_NAME,
)

FACTS_FILE = "tuneforge.json"

TRAIN_SCENES, TRAIN_QUESTIONS_EACH = 800, 3
HELDOUT_SCENES, HELDOUT_QUESTIONS_EACH = 108, 1
_FIRST_TRAIN_SEED, _FIRST_HELDOUT_SEED = 1_000_000, 2_000_000
"""Far from the seeds of the scenes that the base model is pre-trained on."""

Fill = Callable[[Path], dict[str, Any]]
"""Writes a folder's files and returns its facts."""


def make_demonstration(home: Path) -> None:
    """Make what the home lacks of the demonstration, or has of another version; waits if another makes it."""
    home.mkdir(parents=True, exist_ok=True)
    with _lock(home / ".demonstration.lock"):
        _make_folder(home / "models", MODEL_NAME, _fill_model)
        model = home / "models" / MODEL_NAME
        _make_folder(home / "datasets", TRAIN_DATASET_NAME, lambda draft: _fill_train(draft, model))
        _make_folder(home / "datasets", HELDOUT_DATASET_NAME, lambda draft: _fill_heldout(draft, model))


def is_current(folder: Path) -> bool:
    """Whether `folder` was made whole by this version."""
    try:
        facts = json.loads((folder / FACTS_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(facts, dict) and facts.get("version") == DEMONSTRATION_VERSION


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock, which the system lets go when this process ends, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_folder(parent: Path, name: str, fill: Fill) -> None:
    """Make `parent/name`. The catalogue passes over the hidden draft, and over a folder without facts."""
    folder, draft, old = parent / name, parent / f".{name}.draft", parent / f".{name}.old"
    if is_current(folder):
        print(f"{name} is there already", flush=True)
        return
    started = time.monotonic()
    for left_over in (draft, old):
        shutil.rmtree(left_over, ignore_errors=True)
    draft.mkdir(parents=True)
    facts = fill(draft) | {"description": DESCRIPTIONS[name], "version": DEMONSTRATION_VERSION}
    text = json.dumps(facts, ensure_ascii=False, indent=2)
    (draft / FACTS_FILE).write_text(text + "\n", encoding="utf-8")
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    print(f"{name} made in {time.monotonic() - started:.0f} s", flush=True)


# PyTorch and transformers take seconds to import, which a home that has everything need not wait for.


def _fill_model(draft: Path) -> dict[str, Any]:
    from worker.demonstration.pretraining import make_base_model

    model = make_base_model(draft)
    return {
        "source": "local",
        "architecture": type(model).__name__,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "modalities": ["text", "image"],
        "template": TEMPLATE,
    }


def _fill_train(draft: Path, model: Path) -> dict[str, Any]:
    return _fill_dataset(draft, model, _FIRST_TRAIN_SEED, TRAIN_SCENES, TRAIN_QUESTIONS_EACH)


def _fill_heldout(draft: Path, model: Path) -> dict[str, Any]:
    return _fill_dataset(draft, model, _FIRST_HELDOUT_SEED, HELDOUT_SCENES, HELDOUT_QUESTIONS_EACH)


def _fill_dataset(
    draft: Path, model: Path, first_seed: int, count: int, questions_each: int
) -> dict[str, Any]:
    from transformers import AutoProcessor

    from worker.demonstration.dataset import build_rows, choose_scenes, describe_dataset, write_dataset

    scenes = choose_scenes(first_seed, count)
    rows = build_rows(scenes, questions_each)
    write_dataset(draft, scenes, rows)
    return describe_dataset(rows, AutoProcessor.from_pretrained(model))
