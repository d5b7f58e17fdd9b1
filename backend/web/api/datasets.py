"""Datasets: made, looked at row by row, corrected, cleaned, published and deleted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from backend.domain.errors import Invalid, Problem
from backend.domain.spec import Body, PlainText
from backend.services import audit, catalogue, dataset_reports, datasets, idempotency, profiles, users
from backend.tables.dataset import Dataset
from backend.tables.user import User
from backend.web.api import shapes
from backend.web.api.dataset_upload import drop_upload, receive_upload
from backend.web.api.hub_reference import HubDatasetReference
from backend.web.api.idempotency import Key
from backend.web.api.paging import Paging, show_page
from backend.web.deps import DatabaseSession, SignedIn, SignedInId, get_address
from backend.web.turns import run_in_transaction

router = APIRouter(prefix="/datasets", tags=["datasets"])

Reference = Annotated[str, Path(max_length=200)]
_FILE_HEADERS = {"Content-Security-Policy": "sandbox", "Cache-Control": "private, max-age=3600"}


class NewDataset(Body):
    """A dataset, made of one of these; without a name it is called like its file."""

    name: Annotated[PlainText, Field(min_length=1, max_length=200)] | None = None
    upload_id: Annotated[PlainText, Field(min_length=1, max_length=40)] | None = None
    path: Annotated[PlainText, Field(min_length=1, max_length=4000)] | None = None
    hub: HubDatasetReference | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> NewDataset:
        if [self.upload_id, self.path, self.hub].count(None) != 2:
            raise PydanticCustomError("one_source", "give one of upload_id, path and hub")
        return self


def _describe_body() -> dict[str, Any]:
    """Return the schema of a new dataset, with what it refers to in its place: the document knows no `$defs`."""
    schema = NewDataset.model_json_schema()
    schema["properties"]["hub"] = HubDatasetReference.model_json_schema()
    del schema["$defs"]
    return schema


_FORM = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}, "name": {"type": "string"}},
}
_DOCUMENT = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _describe_body()},
            "multipart/form-data": {"schema": _FORM},
        },
    }
}


@router.post("", status_code=201, openapi_extra=_DOCUMENT)
async def create_dataset(
    request: Request, user_id: SignedInId, response: Response, key: Key = None
) -> dict[str, Any]:
    """Make a dataset of an upload, of a path that an administrator allows, or of a file sent as a form."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        name, upload_id, told = await receive_upload(request, user_id)
        try:
            body = _check_body({"name": name, "upload_id": upload_id})
            shown = await _make(request, user_id, key, body, told)
        finally:  # refused, or made already by the same form under this key: its bytes are of no use
            await drop_upload(request, user_id, upload_id)
    else:
        body = _read_json(await request.body())
        shown = await _make(request, user_id, key, body, body.model_dump_json())
    response.headers["Location"] = f"/api/v1/datasets/{shown['id']}"
    return shown


async def _make(
    request: Request, user_id: str, key: str | None, body: NewDataset, told: str
) -> dict[str, Any]:
    def work(session: DatabaseSession) -> dict[str, Any]:
        session.info[audit.ADDRESS] = get_address(request)
        user = users.get_by_id(session, user_id)
        made = idempotency.create_once(
            session, user_id, key, "datasets", told, lambda: _create(session, user, body).id
        )
        return _show(session, catalogue.get_dataset(session, user, made))

    return await run_in_transaction("people", work)


def _create(session: DatabaseSession, user: User, body: NewDataset) -> Dataset:
    if body.upload_id is not None:
        return datasets.create_from_upload(session, user, body.name, body.upload_id)
    if body.hub is not None:
        return datasets.create_from_hub(session, user, body.name, body.hub.model_dump())
    assert body.path is not None
    return datasets.create_from_path(session, user, body.name, body.path)


def _read_json(content: bytes) -> NewDataset:
    try:
        return NewDataset.model_validate_json(content)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None


def _check_body(values: dict[str, Any]) -> NewDataset:
    try:
        return NewDataset.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None


# -- looking -----------------------------------------------------------------------------------------------


@router.get("")
def list_datasets(user: SignedIn, session: DatabaseSession, paging: Paging) -> dict[str, Any]:
    """Return the newest version of each dataset the asker may use."""
    return show_page(catalogue.list_datasets(session, user, paging), lambda found: _summarize(session, found))


@router.get("/{reference}")
def get_dataset(reference: Reference, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Return one dataset: by its id, its name, or `name@2` for a version."""
    return _show(session, catalogue.get_dataset(session, user, reference))


def _summarize(session: DatabaseSession, dataset: Dataset) -> dict[str, Any]:
    is_busy = dataset.status in datasets.BUSY
    return shapes.show_dataset(dataset) | {
        "progress": datasets.find_progress(session, dataset) if is_busy else None,
        "error": dataset_reports.explain_state(dataset),
        "usable_count": dataset.report.get("usable_count"),
        "cleaned_count": dataset.report.get("cleaned_count"),
        "finding_counts": dataset_reports.count_findings(dataset),
    }


def _show(session: DatabaseSession, dataset: Dataset) -> dict[str, Any]:
    versions = [
        {
            "id": version.id,
            "version": version.version,
            "status": version.status,
            "example_count": version.example_count,
            "cleaned_count": version.report.get("cleaned_count"),
            "created_at": shapes.show_time(version.created_at),
            "note": version.note,
        }
        for version in datasets.list_versions(session, dataset)
    ]
    return _summarize(session, dataset) | {
        "versions": versions,
        "mapping": dataset.facts.get("dataset_info"),
        "owner": datasets.find_owner_name(session, dataset),
    }


@router.get("/{reference}/rows")
def list_rows(
    reference: Reference,
    user: SignedIn,
    session: DatabaseSession,
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    q: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    finding: Annotated[str | None, Query(min_length=1, max_length=60)] = None,
) -> dict[str, Any]:
    """Return rows as conversations: all, those that hold a text, or those with a finding."""
    dataset = catalogue.get_dataset(session, user, reference)
    rows, total = dataset_reports.list_rows(dataset, offset, limit, q, finding)
    has_more = len(rows) == limit if total is None else offset + len(rows) < total
    return {"data": shapes.show_rows(dataset, rows), "total": total, "has_more": has_more}


@router.get("/{reference}/rows/{index}/media/{kind}/{place}")
def get_embedded_media(
    reference: Reference,
    index: Annotated[int, Path(ge=0, le=2**53)],
    kind: Literal["images", "videos", "audios"],
    place: Annotated[int, Path(ge=0, le=2**31)],
    user: SignedIn,
    session: DatabaseSession,
) -> Response:
    """Return a picture, video or sound that lies in a row itself."""
    dataset = catalogue.get_dataset(session, user, reference)
    media_type, data = catalogue.get_embedded(dataset, index, kind, place)
    return Response(data, media_type=media_type, headers=_FILE_HEADERS)


@router.get("/{reference}/rendered")
def render_row(
    reference: Reference,
    user: SignedIn,
    session: DatabaseSession,
    template: Annotated[str, Query(min_length=1, max_length=100)],
    index: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> dict[str, Any]:
    """Return how a template of LLaMA-Factory writes one row, and which of it is learnt."""
    return dataset_reports.render_row(catalogue.get_dataset(session, user, reference), index, template)


@router.get("/{reference}/report")
def get_report(reference: Reference, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Return what a look at the whole dataset found."""
    return dataset_reports.build_report(catalogue.get_dataset(session, user, reference))


@router.get("/{reference}/report.csv")
def get_report_csv(reference: Reference, user: SignedIn, session: DatabaseSession) -> Response:
    """Return every finding, one a line."""
    dataset = catalogue.get_dataset(session, user, reference)
    headers = {"Content-Disposition": f'attachment; filename="findings-{dataset.id}.csv"'}
    return StreamingResponse(
        dataset_reports.iterate_csv(dataset), media_type="text/csv; charset=utf-8", headers=headers
    )


@router.get("/{reference}/profile")
def get_profile(
    reference: Reference,
    user: SignedIn,
    session: DatabaseSession,
    model: Annotated[str, Query(min_length=1, max_length=200)],
    cutoff_len: Annotated[int, Query(ge=1, le=2**31)] = 2048,
) -> dict[str, Any]:
    """Return how long the rows are by a model's tokenizer, as far as that was counted; asking changes nothing."""
    dataset, chosen = (
        catalogue.get_dataset(session, user, reference),
        catalogue.get_model(session, user, model),
    )
    return _show_profile(session, profiles.find(session, dataset, chosen), cutoff_len)


class ProfileWish(Body):
    """By which model's tokenizer, and at which length rows will be cut."""

    model: Annotated[PlainText, Field(min_length=1, max_length=200)]
    cutoff_len: Annotated[int, Field(ge=1, le=2**31)] = 2048


@router.post("/{reference}/profile", status_code=202)
def ask_for_profile(
    reference: Reference, body: ProfileWish, user: SignedIn, session: DatabaseSession
) -> dict[str, Any]:
    """Have the rows counted by a model's tokenizer, unless they are; what failed before is tried again."""
    dataset = catalogue.get_dataset(session, user, reference)
    chosen = catalogue.get_model(session, user, body.model)
    return _show_profile(session, profiles.ask(session, user, dataset, chosen, again=True), body.cutoff_len)


def _show_profile(session: DatabaseSession, standing: profiles.Standing, cutoff_len: int) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "code": standing.code,
        **standing.source._asdict(),
        "progress": profiles.find_progress(session, standing),
        "profile": None,
        "cut": None,
    }
    if standing.row is not None and standing.code == "measured":
        shown["profile"] = profiles.show_result(standing.row)
        shown["cut"] = profiles.measure_cut(standing.row, cutoff_len)
    return shown


@router.get("/{reference}/media/{name:path}")
def get_media(reference: Reference, name: str, user: SignedIn, session: DatabaseSession) -> FileResponse:
    """Return a picture, video or sound of a dataset."""
    dataset = catalogue.get_dataset(session, user, reference)
    return FileResponse(catalogue.get_media_path(dataset, name), headers=_FILE_HEADERS)


# -- changing ----------------------------------------------------------------------------------------------


class DatasetChange(Body):
    """What of a dataset can be changed; `visibility` by administrators."""

    name: Annotated[PlainText, Field(min_length=1, max_length=200)] | None = None
    visibility: Literal["public", "private"] | None = None


@router.patch("/{reference}")
def change_dataset(
    reference: Reference, body: DatasetChange, user: SignedIn, session: DatabaseSession
) -> dict[str, Any]:
    """Rename a dataset, or show it to everybody."""
    return _show(session, datasets.change(session, user, reference, body.name, body.visibility))


@router.put("/{reference}/mapping")
def change_mapping(
    reference: Reference, body: dict[str, Any], user: SignedIn, session: DatabaseSession
) -> dict[str, Any]:
    """Say how its files are to be read, as in LLaMA-Factory's `dataset_info.json`; they are checked again."""
    if len(body) > 50:
        raise Invalid([Problem(("mapping",), "too many fields", "字段过多")])
    return _show(session, datasets.change_mapping(session, user, reference, body))


@router.post("/{reference}/clean", status_code=201)
def clean_dataset(
    reference: Reference, user: SignedIn, session: DatabaseSession, key: Key = None
) -> dict[str, Any]:
    """Make a new version of the rows that can be used."""
    made = idempotency.create_once(
        session, user.id, key, "clean", reference, lambda: datasets.clean(session, user, reference).id
    )
    return _show(session, catalogue.get_dataset(session, user, made))


@router.post("/{reference}/cancel", status_code=202)
def cancel(reference: Reference, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Give up an import or a check that is under way."""
    return _show(session, datasets.cancel(session, user, reference))


@router.post("/{reference}/download", status_code=202)
def download_dataset(reference: Reference, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Have a preset fetched."""
    return _show(session, datasets.start_download(session, user, reference))


@router.delete("/{reference}", status_code=204)
def delete_dataset(
    reference: Reference, user: SignedIn, session: DatabaseSession, version_only: bool = False
) -> None:
    """Delete a dataset with all its versions, or one version."""
    datasets.delete(session, user, reference, version_only=version_only)
