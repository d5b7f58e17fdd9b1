"""Uploads in pieces: begin one, send its bytes, ask where to go on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Response
from fastapi import Body as BodyParameter
from pydantic import Field

from backend.domain.spec import Body, PlainText
from backend.services import idempotency, uploads
from backend.tables.upload import Upload
from backend.web.api import shapes
from backend.web.api.idempotency import Key
from backend.web.api.paging import Paging, show_page
from backend.web.deps import DatabaseSession, SignedIn

router = APIRouter(prefix="/uploads", tags=["uploads"])

UploadId = Annotated[str, Path(max_length=40)]


class NewUpload(Body):
    """A file that will arrive in pieces."""

    file_name: Annotated[PlainText, Field(min_length=1, max_length=500)]
    size_bytes: int = Field(ge=0, le=2**53)
    purpose: Literal["dataset", "file"]
    folder: Annotated[PlainText, Field(max_length=2000)] = ""


def _show(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "file_name": upload.file_name,
        "size_bytes": upload.size_bytes,
        "received_bytes": uploads.measure_received(upload),
        "chunk_bytes": uploads.CHUNK_BYTES,
        "purpose": upload.purpose,
        "folder": upload.folder,
        "status": "receiving" if upload.status == "receiving" else "complete",
        "expires_at": shapes.show_time(upload.expires_at),
        "created_at": shapes.show_time(upload.created_at),
    }


@router.post("", status_code=201)
def begin_upload(
    body: NewUpload, user: SignedIn, session: DatabaseSession, response: Response, key: Key = None
) -> dict[str, Any]:
    """Begin an upload; refused at once when the quota or the disk is short."""

    def create() -> str:
        upload = uploads.begin(session, user, body.file_name, body.size_bytes, body.purpose, body.folder)
        return upload.id

    upload_id = idempotency.create_once(session, user.id, key, "uploads", body.model_dump_json(), create)
    response.headers["Location"] = f"/api/v1/uploads/{upload_id}"
    return _show(uploads.get_upload(session, user, upload_id))


@router.get("")
def list_uploads(user: SignedIn, session: DatabaseSession, paging: Paging) -> dict[str, Any]:
    """Return one's uploads, newest first."""
    return show_page(uploads.list_uploads(session, user, paging), _show)


@router.get("/{upload_id}")
def get_upload(upload_id: UploadId, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Return one upload: `received_bytes` is where to go on."""
    return _show(uploads.get_upload(session, user, upload_id))


@router.patch("/{upload_id}")
def append_to_upload(
    upload_id: UploadId,
    user: SignedIn,
    session: DatabaseSession,
    piece: Annotated[bytes, BodyParameter(media_type="application/octet-stream")] = b"",
    offset: Annotated[int, Header(alias="Upload-Offset", ge=0, le=2**53)] = 0,
) -> dict[str, Any]:
    """Add the bytes from `Upload-Offset` on; a piece that was sent before does no harm."""
    return _show(uploads.append(session, user, upload_id, offset, piece))


@router.delete("/{upload_id}", status_code=204)
def delete_upload(upload_id: UploadId, user: SignedIn, session: DatabaseSession) -> None:
    """Give up an upload and drop what arrived."""
    uploads.delete(session, user, upload_id)
