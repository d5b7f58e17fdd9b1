"""Model folders that somebody put into the home: recognised by what they hold, without a `tuneforge.json`."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from backend import storage
from backend.domain.model_catalogue import guess_modalities, guess_template
from backend.domain.presets import find_model_preset
from backend.model_files import ModelFolder, read_model_folder
from backend.tables.base_model import BaseModel

logger = logging.getLogger(__name__)


def find_models(session: Session, known: dict[str, BaseModel]) -> None:
    """Enter whole model folders that nobody described; those whose weights are still being copied wait."""
    for folder in storage.list_undescribed("models"):
        model, stamp = known.get(folder.name), _stamp(folder)
        if stamp is None or (model is not None and not _may_fill(model, stamp)):
            continue
        found = read_model_folder(folder)
        if found is None:
            continue
        try:
            with session.begin_nested():
                _enter(session, folder, found, stamp)
        except DataError:
            # A character that no database holds; one broken folder hides no other.
            _warn_once(str(folder))


def _may_fill(model: BaseModel, stamp: list[int]) -> bool:
    """A row that somebody owns is not overwritten, nor one that says already what the folder says."""
    known = model.status == "ready" and model.facts.get("stamp") == stamp
    return model.owner_id is None and model.status != "downloading" and not known


def _enter(session: Session, folder: Path, found: ModelFolder, stamp: list[int]) -> None:
    model = session.get(BaseModel, folder.name)
    if model is None:
        model = BaseModel(id=folder.name, name=folder.name)
    fill_from_folder(model, folder, found.config, found.parameters)
    model.facts = {**model.facts, "stamp": stamp}
    session.add(model)
    session.flush()


@lru_cache(maxsize=256)
def _warn_once(folder: str) -> None:
    logger.warning("%s is passed over: its config.json cannot be kept", folder)


def _stamp(folder: Path) -> list[int] | None:
    """Tell cheaply whether a folder changed: by its config's moment and size."""
    try:
        read = (folder / "config.json").stat()
    except OSError:
        return None
    return [read.st_mtime_ns, read.st_size]


def fill_from_folder(model: BaseModel, folder: Path, config: dict[str, Any], parameters: int) -> None:
    """Fill a row with what a whole folder says of itself; what it does not say, a preset of this id may know."""
    preset = find_model_preset(model.id)
    architectures = config.get("architectures")
    known = architectures[0] if isinstance(architectures, list) and architectures else None
    model.path = str(folder.relative_to(storage.get_home()))
    model.architecture = str(known or (preset.architecture if preset else "unknown"))[:200]
    model.parameters = parameters
    model.modalities = list(preset.modalities) if preset else guess_modalities(config)
    model.template = preset.template if preset else guess_template(folder.name, config)
    model.size_bytes = storage.measure_folder(folder)
    model.status = "ready"
    facts = preset.build_facts() | {"approximate": []} if preset else {}
    model.source = "preset" if preset else "local"
    model.facts = {"tuneforge": facts | {"source": model.source}, "config": config}
