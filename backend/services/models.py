"""People's models and presets: fetched from a hub or a path, published, renamed, deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend import storage_models
from backend.domain.audit import Action
from backend.domain.errors import Conflict, Invalid, NotAllowed, Problem
from backend.domain.hub_files import HubName
from backend.domain.job import FINISHED
from backend.domain.model_catalogue import find_catalogue_model, guess_template
from backend.domain.presets import find_model_preset
from backend.services import audit, catalogue, chores
from backend.services.after_commit import do_after_commit
from backend.services.presets import offer_model
from backend.settings import get_settings
from backend.tables.base import new_id
from backend.tables.base_model import BaseModel
from backend.tables.job import Job
from backend.tables.user import User

KIND = "download_model"
_FETCHABLE = ("available", "paused", "failed", "missing")


# -- adding ------------------------------------------------------------------------------------------------


def add_from_hub(
    session: Session, user: User, name: str | None, hub: HubName, repo_id: str, revision: str | None
) -> BaseModel:
    """Add a model of one's own and have it fetched; what LLaMA-Factory's table knows of it is known at once."""
    source = {"kind": "hub", "hub": hub, "repo_id": repo_id, "revision": revision}
    return _add(session, user, name or repo_id.rsplit("/", 1)[-1], repo_id, source, named=name is not None)


def add_from_path(session: Session, user: User, name: str | None, path: str) -> BaseModel:
    """Add a copy of a model folder on this machine, below a folder that an administrator allows."""
    place = Path(path)
    roots = [Path(root) for root in get_settings().import_roots.split(":") if root]
    try:
        found = place.resolve(strict=True)
        allowed = any(found.is_relative_to(root.resolve()) for root in roots) and found.is_dir()
    except (OSError, ValueError, RuntimeError):
        allowed = False
    if not allowed:
        raise Invalid(
            [
                Problem(
                    ("path",),
                    "there is no model folder at this path that may be imported; an administrator allows folders by "
                    "TUNEFORGE_IMPORT_ROOTS",
                    "该路径下没有可导入的模型目录；允许的目录由管理员用 TUNEFORGE_IMPORT_ROOTS 设置",
                )
            ]
        )
    source = {"kind": "path", "path": str(found)}
    return _add(session, user, name or found.name, found.name, source, named=name is not None)


def _add(
    session: Session, user: User, name: str, known_as: str, source: dict[str, Any], *, named: bool
) -> BaseModel:
    name = _choose_name(session, user, name, named)
    known = find_catalogue_model(known_as)
    facts = known.facts if known else None
    model_id = new_id()
    model = BaseModel(
        id=model_id, name=name, owner_id=user.id, visibility="private", source=source["kind"],
        path=storage_models.build_path(model_id, user.id), architecture="unknown",
        parameters=facts.parameters if facts else 0,
        modalities=list(known.modalities) if known else ["text"],
        template=guess_template(known_as, {}), size_bytes=0, status="downloading",
        facts={"tuneforge": {"origin": source}, "config": (known.config if known else None) or {}},
    )  # fmt: skip
    session.add(model)
    session.flush()
    chores.enqueue(session, KIND, user.id, model.id, {"source": source})
    audit.record(session, Action.MODEL_ADDED, user, target=(model.id, model.name), source=source)
    return model


def _choose_name(session: Session, user: User, name: str, named: bool) -> str:
    taken = set(session.scalars(select(BaseModel.name).where(BaseModel.owner_id == user.id)))
    if name not in taken:
        return name
    if named:
        raise Conflict(
            f"You have a model named {name!r} already; choose another name.",
            zh=f"您已有名为“{name}”的模型，请换一个名称。",
            code="name_taken",
        )
    return next(wanted for number in range(2, len(taken) + 3) if (wanted := f"{name}-{number}") not in taken)


# -- downloads ---------------------------------------------------------------------------------------------


def start_download(session: Session, user: User, reference: str) -> BaseModel:
    """Have a preset fetched, by anyone, or go on with a download of one's own; twice is as good as once."""
    model = catalogue.get_model(session, user, reference)
    session.refresh(model, with_for_update={"of": BaseModel})
    source = _find_source(model)
    if source is None or model.status == "ready":
        raise Conflict(
            f"{model.name!r} is here already; there is nothing to fetch.",
            zh=f"模型“{model.name}”已在本平台，无需下载。",
            code="already_here",
        )
    if model.owner_id is not None:
        _require_owner(user, model)
    if model.status in _FETCHABLE:
        model.status = "downloading"
        chores.enqueue(session, KIND, user.id, model.id, {"source": source})
        audit.record(session, Action.MODEL_FETCHED, user, target=(model.id, model.name), source=source)
    return model


def _find_source(model: BaseModel) -> dict[str, Any] | None:
    preset = find_model_preset(model.id)
    if model.owner_id is None and preset is not None:
        hub = get_settings().preferred_hub
        chosen = hub if hub in preset.repos else next(iter(preset.repos))
        return {"kind": "hub", "hub": chosen, "repo_id": preset.repos[chosen], "revision": None}
    origin = model.facts.get("tuneforge", {}).get("origin")
    return origin if isinstance(origin, dict) else None


def cancel_download(session: Session, user: User, reference: str) -> BaseModel:
    """Stop a download; what has arrived is kept, and it can go on. Who began it may, and administrators."""
    model = catalogue.get_model(session, user, reference)
    chore = chores.find_open(session, model.id, KIND)
    if chore is None:
        raise Conflict(
            f"{model.name!r} is not being fetched.",
            zh=f"模型“{model.name}”没有在下载。",
            code="not_downloading",
        )
    if user.id != chore.owner_id:
        _require_administrator(user)
    is_waiting = chore.status == "queued"
    chores.cancel(session, model.id, KIND)
    if is_waiting:
        model.status = "paused"
    audit.record(session, Action.MODEL_FETCH_STOPPED, user, target=(model.id, model.name))
    return model


def note_end(session: Session, model_id: str, status: str, _error: dict[str, Any] | None) -> None:
    """Write down that a download failed or was stopped; its reason stays with the chore."""
    model = session.get(BaseModel, model_id)
    if model is not None:
        model.status = "failed" if status == "failed" else "paused"


# -- changing ----------------------------------------------------------------------------------------------


def change(
    session: Session, user: User, reference: str, *, name: str | None, visibility: str | None
) -> BaseModel:
    """Rename a model of one's own, or publish one: administrators only."""
    model = catalogue.get_model(session, user, reference)
    if visibility is not None and visibility != model.visibility:
        _require_administrator(user)
        if model.owner_id is None and visibility == "private":
            raise Conflict(
                "A model of the platform belongs to nobody, so it cannot be private. Delete it instead.",
                zh="平台共享模型没有所有者，不能设为私有；如不需要请删除。",
                code="no_owner",
            )
        model.visibility = visibility
        action = Action.MODEL_PUBLISHED if visibility == "public" else Action.MODEL_WITHDRAWN
        audit.record(session, action, user, target=(model.id, model.name))
    if name is not None and name != model.name:
        _require_owner(user, model)
        old, model.name = model.name, _choose_name(session, user, name, named=True)
        audit.record(session, Action.MODEL_RENAMED, user, target=(model.id, model.name), old=old)
    session.flush()
    return model


def delete(session: Session, user: User, reference: str) -> None:
    """Remove a model with its files; a preset is offered again. Not while a job needs it, nor a job's own result."""
    model = catalogue.get_model(session, user, reference)
    session.refresh(model, with_for_update={"of": BaseModel})
    _require_owner(user, model)
    if model.source == "job":
        raise Conflict(
            "This model is the result of a job; delete the job to remove it.",
            zh="该模型是任务的成果，删除该任务即可移除。",
            code="result_of_a_job",
        )
    in_use = select(Job.name).where(
        Job.status.not_in([status.value for status in FINISHED]),
        Job.launch["model_path"].astext == model.path,
    )
    used_by = session.scalar(in_use.limit(1))
    if used_by is not None:
        raise Conflict(
            f"The job {used_by!r} uses this model and is not finished; wait for it, or stop it.",
            zh=f"任务“{used_by}”正在使用该模型且尚未结束，请等待或先停止它。",
            code="in_use",
        )
    chores.forget(session, model.id)
    path, preset = model.path, find_model_preset(model.id)
    audit.record(session, Action.MODEL_DELETED, user, target=(model.id, model.name))
    if model.owner_id is None and preset is not None:
        offer_model(model, preset)
    else:
        session.delete(model)
    do_after_commit(session, lambda: storage_models.delete(path))


def _require_owner(user: User, model: BaseModel) -> None:
    if model.owner_id != user.id:
        _require_administrator(user)


def _require_administrator(user: User) -> None:
    if user.role != "administrator":
        raise NotAllowed(
            "Only its owner or an administrator may do this.",
            zh="仅限所有者或管理员操作。",
            code="not_owner",
        )
