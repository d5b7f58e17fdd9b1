"""Base models and datasets that the home holds, and who may see them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pydantic
from sqlalchemy import ColumnElement, case, exists, func, or_, select
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session, aliased

from backend import dataset_pages, storage
from backend.domain.dataset_names import split_reference
from backend.domain.errors import NotFound
from backend.services import chores, profiles
from backend.services.found_datasets import find_datasets
from backend.services.found_models import find_models
from backend.services.job_results import enter_results, find_base_model
from backend.services.pages import Page, PageWish, read_page_by_time
from backend.services.presets import list_presets
from backend.tables.base_model import BaseModel
from backend.tables.dataset import Dataset
from backend.tables.job import Job
from backend.tables.user import User

logger = logging.getLogger(__name__)


_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
_FILMS = (".mp4", ".avi", ".mov", ".mkv", ".webm")
_SOUNDS = (".wav", ".mp3", ".flac", ".ogg", ".m4a")
_MEDIA = frozenset((*_PICTURES, *_FILMS, *_SOUNDS))
_ROWS_AT_ONCE = 200
_DISCOVERY_LOCK = 0x6469_7363


class _ModelFacts(pydantic.BaseModel):
    """What a model's `tuneforge.json` has to hold, if it says anything of it."""

    source: str = "local"
    architecture: str = "unknown"
    parameters: int = pydantic.Field(default=0, ge=0, lt=2**63)
    modalities: list[str] = ["text"]
    template: str = "default"


class _DatasetFacts(pydantic.BaseModel):
    """What a dataset's `tuneforge.json` has to hold, if it says anything of it."""

    format: str = "sharegpt"
    modalities: list[str] = ["text"]
    example_count: int = pydantic.Field(default=0, ge=0, lt=2**31)


def discover(session: Session) -> None:
    """Bring the tables up to what lies in `models/` and `datasets/`; what vanished is only marked.

    Several processes may come here at once, and take turns.
    """
    session.execute(select(func.pg_advisory_xact_lock(_DISCOVERY_LOCK)))
    _discover_models(session)
    _discover_datasets(session)
    list_presets(session)
    enter_results(session)


def _discover_models(session: Session) -> None:
    known = {model.id: model for model in session.scalars(select(BaseModel))}
    seen: set[str] = set()
    for folder, facts in storage.list_facts("models"):
        model = known.get(folder.name)
        seen.add(folder.name)
        if model is None or model.facts.get("tuneforge") != facts or model.status != "ready":
            _enter(session, folder, facts, _fill_model)
    find_models(session, known)
    for model_id, model in known.items():
        if (
            model_id not in seen
            and model.status == "ready"
            and not (storage.get_home() / model.path).is_dir()
        ):
            model.status = "missing"


def _discover_datasets(session: Session) -> None:
    known = {dataset.id: dataset for dataset in session.scalars(select(Dataset))}
    for folder, facts in storage.list_facts("datasets"):
        dataset = known.get(folder.name)
        if dataset is None or dataset.facts != facts or dataset.status in ("missing", "available"):
            _enter(session, folder, facts, _fill_dataset)
    find_datasets(session, known)
    for dataset in known.values():
        if dataset.status == "ready" and not (storage.get_home() / dataset.path).is_dir():
            dataset.status = "missing"


_Fill = Callable[[Session, Path, dict[str, Any]], None]


def _enter(session: Session, folder: Path, facts: dict[str, Any], fill: _Fill) -> None:
    """Enter one folder; one whose facts cannot be used is passed over and hides no other."""
    try:
        with session.begin_nested():
            fill(session, folder, facts)
    except (ValueError, DataError) as error:
        _warn_once(str(folder), str(error))


@lru_cache(maxsize=256)
def _warn_once(folder: str, error: str) -> None:
    logger.warning("%s is passed over: its %s cannot be used: %s", folder, storage.FACTS_FILE, error)


def _fill_model(session: Session, folder: Path, facts: dict[str, Any]) -> None:
    read = _ModelFacts.model_validate(facts)
    model = session.get(BaseModel, folder.name)
    if model is None:
        model = BaseModel(id=folder.name, name=folder.name, path=f"models/{folder.name}")
        session.add(model)
    model.source, model.architecture, model.template = read.source, read.architecture, read.template
    model.parameters, model.modalities = read.parameters, read.modalities
    model.size_bytes = storage.measure_folder(folder)
    model.status = "ready"
    model.facts = {"tuneforge": facts, "config": storage.read_json(folder / "config.json") or {}}


def _fill_dataset(session: Session, folder: Path, facts: dict[str, Any]) -> None:
    read = _DatasetFacts.model_validate(facts)
    dataset = session.get(Dataset, folder.name)
    if dataset is None:
        name = folder.name
        dataset = Dataset(id=name, name=name, path=f"datasets/{name}", visibility="public")
        session.add(dataset)
    else:
        profiles.forget(session, dataset.id)
    dataset.format, dataset.modalities = read.format, read.modalities
    dataset.example_count = read.example_count
    dataset.size_bytes = storage.measure_folder(folder)
    dataset.status = "ready"
    dataset.facts, dataset.report = facts, {}
    session.flush()
    # Its description holds until somebody has looked at every row, and afterwards too.
    payload = {"mapping": get_mapping(dataset), "described": True}
    chores.enqueue(session, "check_dataset", None, dataset.id, payload)


# -- base models -------------------------------------------------------------------------------------------


def _visible_models(user: User) -> ColumnElement[bool]:
    return or_(BaseModel.visibility == "public", BaseModel.owner_id == user.id)


def list_models(session: Session, user: User, page: PageWish) -> Page[BaseModel]:
    """Return a page of the models `user` may use, the newest first."""
    return read_page_by_time(session, select(BaseModel).where(_visible_models(user)), BaseModel, page)


def get_model(session: Session, user: User, reference: str) -> BaseModel:
    """Return the model with this id or visible name; one's own comes before a public one.

    Administrators reach everybody's, by id.
    """
    named = or_(BaseModel.id == reference, BaseModel.name == reference)
    query = select(BaseModel).where(_visible_models(user), named)
    own_first = (BaseModel.owner_id == user.id).desc().nulls_last()
    model = session.scalars(query.order_by(own_first, BaseModel.id)).first()
    if model is None and user.role == "administrator":
        model = session.get(BaseModel, reference)
    if model is None:
        raise NotFound(
            f"There is no model {reference!r}; GET /api/v1/models lists those you may use.",
            zh=f"没有模型“{reference}”，请选择列表中的模型。",
        )
    return model


def get_model_of_job(session: Session, user: User, job: Job) -> BaseModel:
    """Return the model that a job ran on; when its folder is no model's any more, the one of its name."""
    return find_base_model(session, job) or get_model(session, user, job.spec["model"])


# -- datasets ----------------------------------------------------------------------------------------------


def _visible_datasets(user: User) -> ColumnElement[bool]:
    return or_(Dataset.visibility == "public", Dataset.owner_id == user.id)


def list_datasets(session: Session, user: User, page: PageWish) -> Page[Dataset]:
    """Return a page of the newest versions of the datasets `user` may use, the newest first."""
    newer = aliased(Dataset)
    is_replaced = exists().where(newer.series_id == Dataset.series_id, newer.version > Dataset.version)
    query = select(Dataset).where(_visible_datasets(user), ~is_replaced)
    return read_page_by_time(session, query, Dataset, page)


def get_dataset(session: Session, user: User, reference: str) -> Dataset:
    """Return the dataset with this id, the newest version of this visible name, or the one that `name@2` names.

    One's own comes before a public one.
    """
    name, version = split_reference(reference)
    named = or_(Dataset.id == reference, Dataset.name == reference)
    if version is not None:
        named = or_(Dataset.id == reference, (Dataset.name == name) & (Dataset.version == version))
    query = select(Dataset).where(_visible_datasets(user), named)
    is_own = case((Dataset.owner_id == user.id, 0), (Dataset.owner_id.is_(None), 1), else_=2)
    is_meant = case((Dataset.id == reference, 0), else_=1)
    dataset = session.scalars(query.order_by(is_own, is_meant, Dataset.version.desc())).first()
    if dataset is None:
        raise NotFound(
            f"There is no dataset {reference!r}; GET /api/v1/datasets lists those you may use.",
            zh=f"没有数据集“{reference}”，请选择列表中的数据集。",
        )
    return dataset


def build_job_name(dataset: Dataset) -> str:
    """Return what a job calls a dataset: people's with the version, which never changes; presets have one only."""
    return f"{dataset.name}@{dataset.version}" if dataset.owner_id else dataset.name


def list_rows(dataset: Dataset, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Return rows `offset` … as conversations with the names of their pictures, and how many there are."""
    mapping = get_mapping(dataset)
    rows, total = dataset_pages.read_rows(get_folder(dataset), mapping, offset, limit)
    if not total and dataset.example_count and not dataset.report:
        name = mapping["file_name"]
        raise NotFound(
            f"The dataset's file {name!r} cannot be read. Put it right, or describe it in {storage.FACTS_FILE}.",
            zh=f"无法读取数据文件“{name}”，请修正该文件，或在 {storage.FACTS_FILE} 中正确描述它。",
        )
    return rows, total or 0


def list_rows_at(dataset: Dataset, numbers: list[int]) -> list[dict[str, Any]]:
    """Return the rows with these numbers, in this order."""
    return dataset_pages.read_rows_at(get_folder(dataset), get_mapping(dataset), numbers)


def get_folder(dataset: Dataset) -> Path:
    """Return where a dataset's files lie."""
    folder = storage.get_home() / dataset.path
    if not folder.is_dir():
        raise NotFound("The files of this dataset are not there yet.", zh="该数据集的文件尚不存在。")
    return folder


def get_mapping(dataset: Dataset) -> dict[str, Any]:
    """Return a dataset's entry for `dataset_info.json`, with the name of its file."""
    info = _as_dict(dataset.facts.get("dataset_info"))
    return {"file_name": dataset.facts.get("file_name", "data.json")} | info


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def get_media_path(dataset: Dataset, name: str) -> Path:
    """Return the picture, video or sound `name` of a dataset; anything else in its folder is NotFound."""
    path = storage.resolve(storage.get_home() / dataset.path, name)
    if path.suffix.lower() not in _MEDIA or not path.is_file():
        raise NotFound("There is no such picture in this dataset.")
    return path


def get_embedded(dataset: Dataset, row: int, kind: str, place: int) -> tuple[str, bytes]:
    """Return the media type and the bytes of what a row of a dataset holds itself."""
    found = dataset_pages.read_embedded(get_folder(dataset), get_mapping(dataset), row, kind, place)
    if found is None:
        raise NotFound("This row holds no such picture.", zh="该行没有这张图片。")
    return found


def find_missing_media(dataset: Dataset) -> str | None:
    """Return a sentence naming the first rows whose pictures are not in the dataset, or None when all are."""
    if dataset.report or not set(dataset.modalities) - {"text"}:  # its check has looked at every one
        return None
    try:
        missing = _list_missing_media(dataset)
    except NotFound as error:
        return error.detail
    if not missing:
        return None
    examples = "; ".join(f"row {index}: {image!r}" for index, image in missing[:3])
    return f"{len(missing)} of its pictures are missing ({examples}); put them back or choose another dataset"


def _list_missing_media(dataset: Dataset) -> list[tuple[int, str]]:
    root, missing, number, total = get_folder(dataset), [], 0, 1
    while number < total:
        rows, total = list_rows(dataset, number, _ROWS_AT_ONCE)
        number += _ROWS_AT_ONCE
        for row in rows:
            names = [name for name in row["images"] if isinstance(name, str)]
            missing += [(row["index"], name) for name in names if not storage.has_file(root, name)]
    return missing
