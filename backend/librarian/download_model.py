"""The chore `download_model`: from a hub or a path to a model that is whole, verified and ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backend import storage, storage_models
from backend.domain.errors import Conflict
from backend.domain.model_catalogue import guess_template
from backend.hubs import HubSource, fetch
from backend.librarian.running import RunningChore
from backend.model_files import read_model_folder
from backend.services import spaces
from backend.services.chores import ChoreLost
from backend.services.found_models import fill_from_folder
from backend.services.models import note_end
from backend.tables.base_model import BaseModel
from backend.tables.user import User

__all__ = ["note_end", "run"]


def run(chore: RunningChore) -> None:
    """Fill the model's folder unless that was done already, and enter what it holds."""
    source: dict[str, Any] = chore.payload["source"]
    with chore.transaction() as session:
        path = _get_subject(session.get(BaseModel, chore.subject_id), chore).path
    if not storage_models.has_folder(path):
        draft = storage_models.get_draft(path)
        draft.mkdir(parents=True, exist_ok=True)
        origin = _fill(chore, source, draft)
        chore.report("verifying", 1.0)
        _require_whole(draft)
        with chore.transaction() as session:  # still ours: only then may it appear
            model = _get_subject(session.get(BaseModel, chore.subject_id), chore)
            facts = _describe(model, draft, origin)
            storage_models.publish(path, facts)
    with chore.transaction() as session:
        _enter(_get_subject(session.get(BaseModel, chore.subject_id), chore))


def _get_subject(model: BaseModel | None, chore: RunningChore) -> BaseModel:
    if model is None:
        raise ChoreLost(chore.id)
    return model


def _fill(chore: RunningChore, source: dict[str, Any], draft: Path) -> dict[str, Any]:
    """Bring the files into the draft; return where they are from, pinned to what it was at that moment."""

    def tell(received: int, total: int) -> None:
        fraction = received / total if total else 1.0
        chore.report("downloading", fraction, received_bytes=received, total_bytes=total)

    if source["kind"] == "path":
        storage_models.copy_model(Path(source["path"]), draft, tell)
        return source
    wanted = HubSource(source["hub"], "model", source["repo_id"], source["revision"])
    chore.report("listing", None)
    snapshot = fetch(wanted, draft, tell, lambda total: _require_room(chore, draft, total))
    return {**source, "commit": snapshot.commit, "licence": snapshot.licence}


def _require_room(chore: RunningChore, draft: Path, total: int) -> None:
    """Refuse before the first byte what the person's quota or the disk does not have; keep the room from then on."""
    with chore.transaction() as session:
        model = _get_subject(session.get(BaseModel, chore.subject_id), chore)
        had = storage.measure_folder(draft)
        owner = session.get(User, model.owner_id) if model.owner_id else None
        if owner is None:
            spaces.require_disk(session, max(0, total - had))
        else:
            model.size_bytes = 0
            session.flush()
            spaces.require_room(session, owner, total, had)
        model.size_bytes = total


def _require_whole(draft: Path) -> None:
    if read_model_folder(draft) is None:
        raise Conflict(
            "This is no whole model: config.json or a part of its weights is missing. Choose another repository.",
            zh="这不是一个完整的模型：缺少 config.json 或部分权重。请换一个仓库。",
            code="not_a_model",
        )


def _describe(model: BaseModel, draft: Path, origin: dict[str, Any]) -> dict[str, Any]:
    """Return the `tuneforge.json`: what the files say, the template chosen before, and the pinned origin."""
    known = dict(model.facts.get("tuneforge", {}))
    config = storage.read_json(draft / "config.json") or {}
    template = model.template
    if template == "default":
        template = guess_template(str(origin.get("repo_id", "")), config)
    return known | {
        "name": model.name,
        "source": model.source,
        "template": template,
        "origin": origin,
        "licence": origin.get("licence") or known.get("licence"),
        "approximate": [],
    }


def _enter(model: BaseModel) -> None:
    """Write down what lies there; done twice, it says the same."""
    folder = storage.get_home() / model.path
    facts = storage.read_json(folder / storage.FACTS_FILE)
    found = read_model_folder(folder)
    if found is None or not isinstance(facts, dict):
        raise Conflict("The model's files are gone.", zh="模型文件已不存在。", code="not_a_model")
    source = model.source
    fill_from_folder(model, folder, found.config, found.parameters)
    model.source, model.template = source, str(facts.get("template", model.template))
    described = facts | {
        "architecture": model.architecture,
        "parameters": model.parameters,
        "modalities": model.modalities,
    }
    model.facts = {"tuneforge": described, "config": found.config}
