"""LLaMA-Factory's table of models beside what this installation has: its GPUs, and the models that are here."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.domain.estimate.fitting import find_fits
from backend.domain.gpu_kinds import describe_gpu_kind
from backend.domain.model_catalogue import CatalogueModel, find_catalogue_model, search_catalogue
from backend.domain.presets import MODELS
from backend.services import nodes
from backend.tables.base_model import BaseModel
from backend.tables.user import User

_LICENCES = {repo: preset.licence for preset in MODELS for repo in preset.repos.values()}
Device = tuple[str, int, int]
"""A kind of GPU, the bytes of one, and how many the largest node has."""


def search(words: str | None, modality: str | None) -> list[dict[str, Any]]:
    """Return the rows that match, each with its `name` and the model itself."""
    return [{"name": model.name, "model": model} for model in search_catalogue(words, modality)]


def build_display(session: Session, user: User) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what shows one row; the database is asked once for all of them."""
    sizes = nodes.list_sizes(session)
    devices = tuple(
        (kind, counted["memory_bytes"], max(sizes.get(kind, [1])))
        for kind, counted in sorted(nodes.count_present_devices(session).items())
        if kind != "cpu"
    )
    here = _find_models_here(session, user)
    return lambda row: _show(row["model"], devices, here.get(row["name"]))


def _find_models_here(session: Session, user: User) -> dict[str, str]:
    """Return the ids of models that this person may use, by their name in the table."""
    visible = (BaseModel.visibility == "public") | (BaseModel.owner_id == user.id)
    found: dict[str, str] = {}
    for model in session.scalars(select(BaseModel).where(visible).order_by(BaseModel.created_at.desc())):
        facts = model.facts.get("tuneforge", {})
        origin = facts.get("origin")
        repo = origin.get("repo_id") if isinstance(origin, dict) else None
        known = find_catalogue_model(str(repo or model.name))
        if known is not None:
            found[known.name] = model.id
    return found


def _show(model: CatalogueModel, devices: tuple[Device, ...], model_id: str | None) -> dict[str, Any]:
    licences = (_LICENCES.get(repo) for repo in model.repos.values())
    return {
        "name": model.name,
        "family": model.family,
        "template": model.template,
        "modalities": list(model.modalities),
        "repos": model.repos,
        "parameters": model.facts.parameters if model.facts else None,
        "approximate": model.approximate,
        "licence": next(filter(None, licences), None),
        "size_bytes": model.size_bytes,
        "model_id": model_id,
        "fits": _find_fits(model.name, devices),
    }


@lru_cache(maxsize=4096)
def _find_fits(name: str, devices: tuple[Device, ...]) -> list[dict[str, Any]]:
    """Return what fits on each kind; nothing for a model of unknown size, or whose weights are quantised already."""
    model = find_catalogue_model(name)
    if model is None or model.facts is None or model.is_quantised:
        return []
    rows: list[dict[str, Any]] = []
    for kind, memory_bytes, largest in devices:
        counts = [1 << power for power in range(largest.bit_length()) if 1 << power <= largest]
        rows += find_fits(model.facts, describe_gpu_kind(kind, memory_bytes), counts)
    return rows
