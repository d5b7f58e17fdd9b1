"""Profiles of datasets: asked for by forms and pages, counted by the librarian, once for each tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend import storage
from backend.domain.datasets.profiles import (
    SOURCES,
    LengthSource,
    build_counted_facts,
    choose_worst,
    measure_result_cut,
)
from backend.services import chores
from backend.services.offers import is_on_its_way
from backend.tables.base import new_id, utc_now
from backend.tables.base_model import BaseModel
from backend.tables.dataset import Dataset
from backend.tables.dataset_profile import DatasetProfile
from backend.tables.user import User
from backend.tokenizer_files import identify_tokenizer

KIND = "profile_dataset"


@dataclass(frozen=True)
class Standing:
    """How a dataset's lengths stand for a model: a code of `SOURCES`, and the profile if there is one."""

    code: str
    row: DatasetProfile | None = None

    @property
    def source(self) -> LengthSource:
        """Return what is said of it."""
        return SOURCES[self.code]

    def build_facts(self, dataset: Dataset) -> dict[str, Any]:
        """Return what the estimator is given of the dataset."""
        if self.row is None or self.code != "measured":
            return dataset.facts
        return build_counted_facts(dataset.facts, self.row.result)


def find(session: Session, dataset: Dataset, model: BaseModel) -> Standing:
    """Return how it stands, changing nothing. Who asks has been found to see both."""
    if is_on_its_way(dataset):
        return Standing("dataset_absent")
    if model.status != "ready":
        return Standing("model_absent")
    tokenizer = _identify(model)
    if tokenizer is None:
        return Standing("tokenizer_absent")
    row = session.scalars(
        select(DatasetProfile).where(
            DatasetProfile.dataset_id == dataset.id, DatasetProfile.tokenizer == tokenizer
        )
    ).first()
    return Standing(row.status if row else "not_counted", row)


def ask(session: Session, user: User, dataset: Dataset, model: BaseModel, *, again: bool = False) -> Standing:
    """Return how it stands, having it counted if that was not done yet; twice is as good as once.

    What failed is counted again only when a person says so, by `again`.
    """
    standing = find(session, dataset, model)
    wanted = ("not_counted", "counting", "failed") if again else ("not_counted", "counting")
    tokenizer = _identify(model)
    if standing.code not in wanted or tokenizer is None or dataset.status != "ready":
        return standing
    row = standing.row or _make_row(session, dataset, tokenizer)
    if chores.find_open(session, row.id) is not None:
        return Standing("counting", row)
    # The chore may have ended since the row was read.
    session.refresh(row, with_for_update=True)
    if row.status == "measured" or (row.status == "failed" and not again):
        return Standing(row.status, row)
    row.status = "counting"
    chores.enqueue(session, KIND, user.id, row.id, {"model_path": model.path, "template": model.template})
    return Standing("counting", row)


def _identify(model: BaseModel) -> str | None:
    return identify_tokenizer(storage.get_home() / model.path, model.template)


def _make_row(session: Session, dataset: Dataset, tokenizer: str) -> DatasetProfile:
    """Make the row, or take the one that somebody else made meanwhile."""
    values = {"dataset_id": dataset.id, "tokenizer": tokenizer, "status": "counting", "result": {}}
    made = insert(DatasetProfile).values(id=new_id(), created_at=utc_now(), **values)
    session.execute(made.on_conflict_do_nothing(index_elements=["dataset_id", "tokenizer"]))
    return session.scalars(
        select(DatasetProfile).where(
            DatasetProfile.dataset_id == dataset.id, DatasetProfile.tokenizer == tokenizer
        )
    ).one()


def summarize(datasets: list[Dataset], standings: list[Standing], cutoff_len: int | None) -> dict[str, Any]:
    """Return what an estimate says of its datasets' lengths: the worst of them first, then each.

    `cut` says how many rows are cut at `cutoff_len`, once all are counted; where nothing is cut, that is None.
    """
    worst = SOURCES[choose_worst([standing.code for standing in standings])]
    each = [
        {"id": dataset.id, "name": dataset.name, "status": standing.source.status}
        for dataset, standing in zip(datasets, standings, strict=True)
    ]
    rows = [standing.row for standing in standings if standing.row is not None]
    cut = None
    if worst.status == "measured" and cutoff_len is not None:
        cuts = [measure_cut(row, cutoff_len) for row in rows]
        cut = {name: sum(one[name] for one in cuts) for name in ("rows", "tokens")} | {
            "cutoff_len": cutoff_len
        }
    return {**worst._asdict(), "cut": cut, "datasets": each}


def find_progress(session: Session, standing: Standing) -> dict[str, Any] | None:
    """Return how far the counting is; None when none is under way."""
    if standing.row is None or standing.code != "counting":
        return None
    return chores.show_progress(chores.find_open(session, standing.row.id))


def measure_cut(row: DatasetProfile, cutoff_len: int) -> dict[str, int]:
    """Return how many rows are longer than `cutoff_len`, and by how many tokens in all."""
    return {"cutoff_len": cutoff_len, **measure_result_cut(row.result, cutoff_len)}


def show_result(row: DatasetProfile) -> dict[str, Any]:
    """Return what was counted, but for what only the reckoning of a cut needs."""
    tokens = {name: value for name, value in row.result["tokens"].items() if name != "bins"}
    return row.result | {"tokens": tokens}


# -- what the librarian does with them ---------------------------------------------------------------------


def note_end(session: Session, profile_id: str, status: str, _error: dict[str, Any] | None) -> None:
    """Write down that lengths could not be counted; a reason stays with the chore."""
    row = session.get(DatasetProfile, profile_id)
    if row is not None and status == "failed":
        row.status = "failed"
    elif row is not None:
        session.delete(row)


def forget(session: Session, dataset_id: str) -> None:
    """Drop all profiles of a dataset that is deleted or read otherwise; who is counting finds out and leaves."""
    for row in session.scalars(select(DatasetProfile).where(DatasetProfile.dataset_id == dataset_id)).all():
        drop(session, row)


def drop(session: Session, row: DatasetProfile) -> None:
    """Drop one profile with what is under way for it."""
    chores.forget(session, row.id)
    session.delete(row)
    session.flush()
