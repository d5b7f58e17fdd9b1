"""Presets as rows: listed while nobody has fetched them, and again when their folder is gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.domain import presets
from backend.domain.presets import DatasetPreset, ModelPreset
from backend.services.offers import AVAILABLE
from backend.settings import get_settings
from backend.tables.base import utc_now
from backend.tables.base_model import BaseModel
from backend.tables.dataset import Dataset

_ORDER_STEP = timedelta(milliseconds=1)
"""Lists show the newest first, so each preset is a little older than the one before it."""


def list_presets(session: Session) -> None:
    """Enter every preset that has no row, and offer again those whose files are gone."""
    if get_settings().presets == "off":
        return
    _list_models(session)
    _list_datasets(session)


def _list_models(session: Session) -> None:
    ids = [preset.id for preset in presets.MODELS]
    known = {model.id: model for model in session.scalars(select(BaseModel).where(BaseModel.id.in_(ids)))}
    taken = set(session.scalars(select(BaseModel.name).where(BaseModel.owner_id.is_(None))))
    now = utc_now()
    for place, preset in enumerate(presets.MODELS):
        model = known.get(preset.id)
        if model is None and preset.id not in taken:
            model = BaseModel(id=preset.id, name=preset.id, created_at=now - place * _ORDER_STEP)
            offer_model(model, preset)
            session.add(model)
        elif model is not None and model.status == "missing":
            offer_model(model, preset)
    session.flush()


def offer_model(model: BaseModel, preset: ModelPreset) -> None:
    """Fill a row with what is known of a preset that is not here."""
    model.path, model.source, model.status = f"models/{preset.id}", "preset", AVAILABLE
    model.architecture, model.template = preset.architecture, preset.template
    model.modalities = list(preset.modalities)
    model.parameters, model.size_bytes = preset.parameters, preset.size_bytes
    model.facts = {"tuneforge": preset.build_facts(), "config": preset.config}


def _list_datasets(session: Session) -> None:
    offered = presets.list_dataset_presets()
    ids = [preset.id for preset in offered]
    known = {dataset.id: dataset for dataset in session.scalars(select(Dataset).where(Dataset.id.in_(ids)))}
    taken = set(session.scalars(select(Dataset.name).where(Dataset.owner_id.is_(None))))
    now = utc_now()
    for place, preset in enumerate(offered):
        dataset = known.get(preset.id)
        if dataset is None and preset.id not in taken:
            dataset = Dataset(id=preset.id, name=preset.id, created_at=now - place * _ORDER_STEP)
            offer_dataset(dataset, preset)
            session.add(dataset)
        elif dataset is not None and dataset.status == "missing":
            offer_dataset(dataset, preset)
    session.flush()


def find_preset_mapping(dataset_id: str) -> dict[str, Any] | None:
    """Return how LLaMA-Factory's own list of datasets reads this preset, where it does."""
    preset = presets.find_dataset_preset(dataset_id)
    return preset.facts.get("dataset_info") if preset else None


def offer_dataset(dataset: Dataset, preset: DatasetPreset) -> None:
    """Fill a row with what is known of a preset that is not here."""
    dataset.path, dataset.visibility, dataset.status = f"datasets/{preset.id}", "public", AVAILABLE
    dataset.format = str(preset.facts["format"])
    dataset.modalities = list(preset.facts["modalities"])
    dataset.example_count, dataset.size_bytes = preset.example_count, preset.size_bytes
    dataset.facts = preset.build_facts()
