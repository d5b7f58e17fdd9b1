"""Base models: listed, fetched from hubs, published, deleted; and LLaMA-Factory's own table of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from backend.domain.spec import Body, PlainText
from backend.services import catalogue, chores, idempotency, model_catalogue, models
from backend.tables.base_model import BaseModel
from backend.web.api import shapes
from backend.web.api.hub_reference import HubReference
from backend.web.api.idempotency import Key
from backend.web.api.paging import Paging, cut_page, show_page
from backend.web.deps import DatabaseSession, SignedIn

router = APIRouter(tags=["models"])

Reference = Annotated[str, Path(max_length=200)]
ModelName = Annotated[
    PlainText, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")
]


class NewModel(Body):
    """A model to add: from a hub, or from a path that an administrator allows."""

    name: ModelName | None = None
    hub: HubReference | None = None
    path: Annotated[PlainText, Field(min_length=1, max_length=1000)] | None = None

    @model_validator(mode="after")
    def _require_one_place(self) -> NewModel:
        if (self.hub is None) == (self.path is None):
            raise PydanticCustomError("one_place", "name either a hub or a path")
        return self


class ModelChange(Body):
    """What of a model can be changed."""

    name: ModelName | None = None
    visibility: Literal["public", "private"] | None = None


def _show(session: DatabaseSession, model: BaseModel) -> dict[str, Any]:
    return shapes.show_model(model, chores.find_last(session, model.id))


@router.get("/models")
def list_models(user: SignedIn, session: DatabaseSession, paging: Paging) -> dict[str, Any]:
    """Return the models the asker may use."""
    page = catalogue.list_models(session, user, paging)
    latest = chores.find_latest_of(session, [model.id for model in page.rows])
    return show_page(page, lambda model: shapes.show_model(model, latest.get(model.id)))


@router.post("/models", status_code=201)
def add_model(
    body: NewModel, user: SignedIn, session: DatabaseSession, response: Response, key: Key = None
) -> dict[str, Any]:
    """Add a model of one's own, and have it fetched."""

    def create() -> str:
        if body.hub is not None:
            hub = body.hub
            return models.add_from_hub(session, user, body.name, hub.hub, hub.repo_id, hub.revision).id
        return models.add_from_path(session, user, body.name, str(body.path)).id

    model_id = idempotency.create_once(session, user.id, key, "models", body.model_dump_json(), create)
    response.headers["Location"] = f"/api/v1/models/{model_id}"
    return _show(session, catalogue.get_model(session, user, model_id))


@router.get("/models/{reference}")
def get_model(reference: Reference, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Return one model."""
    return _show(session, catalogue.get_model(session, user, reference))


@router.patch("/models/{reference}")
def change_model(
    reference: Reference, body: ModelChange, user: SignedIn, session: DatabaseSession
) -> dict[str, Any]:
    """Rename a model, or publish it for all."""
    changed = models.change(session, user, reference, name=body.name, visibility=body.visibility)
    return _show(session, changed)


@router.delete("/models/{reference}", status_code=204)
def delete_model(reference: Reference, user: SignedIn, session: DatabaseSession) -> None:
    """Remove a model with its files."""
    models.delete(session, user, reference)


@router.post("/models/{reference}/download", status_code=202)
def download_model(reference: Reference, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Have a preset fetched, or go on with a download."""
    return _show(session, models.start_download(session, user, reference))


@router.post("/models/{reference}/cancel", status_code=202)
def cancel_download(reference: Reference, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Stop a download; what has arrived is kept."""
    return _show(session, models.cancel_download(session, user, reference))


@router.get("/model-catalogue")
def list_model_catalogue(
    user: SignedIn,
    session: DatabaseSession,
    paging: Paging,
    q: Annotated[str | None, Query(max_length=200)] = None,
    modality: Literal["text", "image", "video", "audio"] | None = None,
) -> dict[str, Any]:
    """Return LLaMA-Factory's own models, and on which GPUs here each can be trained."""
    page = cut_page(model_catalogue.search(q, modality), paging, "name")
    return show_page(page, model_catalogue.build_display(session, user), "name")
