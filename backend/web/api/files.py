"""A person's files: folders, download, rename, delete, and what their jobs left."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import Field

from backend.domain.spec import Body, PlainText
from backend.services import files, spaces
from backend.web.api import shapes
from backend.web.deps import DatabaseSession, SignedIn

router = APIRouter(prefix="/files", tags=["files"])

PathText = Annotated[PlainText, Field(min_length=1, max_length=4000)]
PathQuery = Annotated[str, Query(max_length=4000)]
# A stranger's page or script must not run where the platform's own does.
_HEADERS = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}


@router.get("")
def list_files(user: SignedIn, session: DatabaseSession, path: PathQuery = "") -> dict[str, Any]:
    """Return what lies in a folder, and how much of the quota is used."""
    kept, entries = files.list_entries(session, user, path)
    shown = [
        {
            "name": entry.name,
            "kind": entry.kind,
            "size_bytes": entry.size_bytes,
            "modified_at": shapes.show_time(entry.modified_at),
        }
        for entry in entries
    ]
    used, quota = spaces.measure_used(session, user), spaces.get_quota(user)
    return {"path": kept, "entries": shown, "used_bytes": used, "quota_bytes": quota}


class NewFolder(Body):
    """A folder to be made."""

    path: PathText


@router.post("/folders", status_code=201)
def make_folder(body: NewFolder, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Make a folder, and those above it; one that is there is no fault."""
    return {"path": files.make_folder(session, user, body.path)}


class Rename(Body):
    """Where something lies, and where it shall lie."""

    path: PathText
    new_path: PathText


@router.patch("")
def rename(body: Rename, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Rename or move a file or folder."""
    return {"path": files.rename(session, user, body.path, body.new_path)}


@router.delete("", status_code=204)
def delete(user: SignedIn, session: DatabaseSession, path: PathQuery = "") -> None:
    """Delete a file, or a folder with all it holds."""
    files.delete(session, user, path)


@router.get("/content")
def get_content(user: SignedIn, session: DatabaseSession, path: PathQuery = "") -> Response:
    """Stream a file (`Range` is understood), or a folder as a zip."""
    content = files.get_content(session, user, path)
    if content.path is not None:
        return FileResponse(
            content.path, media_type="application/octet-stream", filename=content.name, headers=_HEADERS
        )
    assert content.tree is not None
    disposition = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(content.name + '.zip')}"}
    return StreamingResponse(
        files.stream_zip(content.tree), media_type="application/zip", headers=_HEADERS | disposition
    )
