"""Base models and datasets that the home holds, and who may see them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from backend import storage
from backend.domain.errors import NotFound
from backend.tables.base_model import BaseModel
from backend.tables.dataset import Dataset
from backend.tables.user import User


def discover(session: Session) -> None:
    """Bring the tables up to what lies in `models/` and `datasets/`; what vanished is only marked."""
    _discover_models(session)
    _discover_datasets(session)


def _discover_models(session: Session) -> None:
    known = {model.id: model for model in session.scalars(select(BaseModel))}
    seen: set[str] = set()
    for folder, facts in storage.list_facts("models"):
        model = known.get(folder.name)
        if model is None:
            model = BaseModel(id=folder.name, name=folder.name, path=f"models/{folder.name}", facts={})
            session.add(model)
        seen.add(folder.name)
        if model.facts.get("tuneforge") == facts and model.status == "ready":
            continue
        model.source = str(facts.get("source", "local"))
        model.architecture = str(facts.get("architecture", "unknown"))
        model.parameters = int(facts.get("parameters", 0))
        model.modalities = [str(modality) for modality in facts.get("modalities", ["text"])]
        model.template = str(facts.get("template", "default"))
        model.size_bytes = storage.measure_folder(folder)
        model.status = "ready"
        model.facts = {"tuneforge": facts, "config": storage.read_json(folder / "config.json") or {}}
    for model_id, model in known.items():
        if model_id not in seen and not (storage.get_home() / model.path).is_dir():
            model.status = "missing"


def _discover_datasets(session: Session) -> None:
    known = {dataset.id: dataset for dataset in session.scalars(select(Dataset))}
    for folder, facts in storage.list_facts("datasets"):
        dataset = known.get(folder.name)
        if dataset is None:
            dataset = Dataset(
                id=folder.name,
                name=folder.name,
                path=f"datasets/{folder.name}",
                visibility="public",
                facts={},
            )
            session.add(dataset)
        if dataset.facts == facts and dataset.status == "ready":
            continue
        _fill_dataset(dataset, folder, facts)
    for dataset in known.values():
        if not (storage.get_home() / dataset.path).is_dir():
            dataset.status = "missing"


def _fill_dataset(dataset: Dataset, folder: Path, facts: dict[str, Any]) -> None:
    dataset.format = str(facts.get("format", "sharegpt"))
    dataset.modalities = [str(modality) for modality in facts.get("modalities", ["text"])]
    dataset.example_count = int(facts.get("example_count", 0))
    dataset.size_bytes = storage.measure_folder(folder)
    dataset.status = "ready"
    dataset.facts = facts


# -- base models -------------------------------------------------------------------------------------------


def _visible_models(user: User) -> ColumnElement[bool]:
    return or_(BaseModel.owner_id.is_(None), BaseModel.owner_id == user.id)


def list_models(session: Session, user: User) -> Sequence[BaseModel]:
    """Return the models `user` may use, by name."""
    return session.scalars(select(BaseModel).where(_visible_models(user)).order_by(BaseModel.name)).all()


def get_model(session: Session, user: User, reference: str) -> BaseModel:
    """Return the model with this id or visible name."""
    named = or_(BaseModel.id == reference, BaseModel.name == reference)
    model = session.scalars(select(BaseModel).where(_visible_models(user), named)).first()
    if model is None:
        raise NotFound(f"There is no model {reference!r}; GET /api/v1/models lists those you may use.")
    return model


# -- datasets ----------------------------------------------------------------------------------------------


def _visible_datasets(user: User) -> ColumnElement[bool]:
    return or_(Dataset.visibility == "public", Dataset.owner_id == user.id)


def list_datasets(session: Session, user: User) -> Sequence[Dataset]:
    """Return the datasets `user` may use, by name."""
    return session.scalars(select(Dataset).where(_visible_datasets(user)).order_by(Dataset.name)).all()


def get_dataset(session: Session, user: User, reference: str) -> Dataset:
    """Return the dataset with this id or visible name; one's own comes before a public one."""
    named = or_(Dataset.id == reference, Dataset.name == reference)
    query = select(Dataset).where(_visible_datasets(user), named)
    dataset = session.scalars(query.order_by(Dataset.owner_id.nulls_last())).first()
    if dataset is None:
        raise NotFound(f"There is no dataset {reference!r}; GET /api/v1/datasets lists those you may use.")
    return dataset


def list_rows(dataset: Dataset, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Return rows `offset` … as conversations with the names of their pictures, and how many there are."""
    rows = storage.read_rows(dataset.path, str(dataset.facts.get("file_name", "data.json")))
    info = dataset.facts.get("dataset_info", {})
    columns, tags = info.get("columns", {}), info.get("tags", {})
    role, content = tags.get("role_tag", "from"), tags.get("content_tag", "value")
    user_tag = tags.get("user_tag", "human")
    found = []
    for index, row in enumerate(rows[offset : offset + limit], start=offset):
        messages = [
            {
                "role": "user" if message.get(role) == user_tag else str(message.get(role, "")),
                "content": str(message.get(content, "")),
            }
            for message in row.get(columns.get("messages", "conversations"), [])
        ]
        for message in messages:
            if message["role"] == tags.get("assistant_tag", "gpt"):
                message["role"] = "assistant"
        images = [str(image) for image in row.get(columns.get("images", "images")) or []]
        found.append({"index": index, "messages": messages, "images": images})
    return found, len(rows)


def get_media_path(dataset: Dataset, name: str) -> Path:
    """Return the picture `name` of a dataset; anything else than a picture in its folder is NotFound."""
    path = storage.resolve(storage.get_home() / dataset.path, name)
    if path.suffix.lower() not in {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"} or not path.is_file():
        raise NotFound("There is no such picture in this dataset.")
    return path


def find_missing_media(dataset: Dataset) -> str | None:
    """Return a sentence naming the first rows whose pictures are not there, or None when all are."""
    if not set(dataset.modalities) - {"text"}:
        return None
    rows, _ = list_rows(dataset, 0, sys.maxsize)
    root = storage.get_home() / dataset.path
    missing = [
        (row["index"], image) for row in rows for image in row["images"] if not (root / image).is_file()
    ]
    if not missing:
        return None
    examples = "; ".join(f"row {index}: {image!r}" for index, image in missing[:3])
    return f"{len(missing)} of its pictures are missing ({examples}); put them back or choose another dataset"
