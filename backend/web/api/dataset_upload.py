"""The upload behind a dataset that is sent as a form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import Request

from backend.services import audit, uploads, users
from backend.web.api.dataset_form import receive_form
from backend.web.deps import DatabaseSession, get_address
from backend.web.turns import run_in_transaction


async def receive_upload(request: Request, user_id: str) -> tuple[str | None, str, str]:
    """Return the wanted name, the id of the complete upload, and what tells this form from another.

    No database connection is held while bytes come in; an upload that is cut off is dropped.
    """
    begun = _Begun(user_id, get_address(request))
    try:
        fields = await receive_form(request, begun.begin)
    except BaseException:
        if begun.upload_id:
            await run_in_transaction("people", begun.drop)
        raise
    await run_in_transaction("people", begun.complete)
    name = fields.get("name") or None
    return name, begun.upload_id, f"{name}\n{begun.file_name}\n{begun.received}"


async def drop_upload(request: Request, user_id: str, upload_id: str) -> None:
    """Drop a complete upload of which no dataset was made."""

    def work(session: DatabaseSession) -> None:
        session.info[audit.ADDRESS] = get_address(request)
        uploads.drop_unused(session, users.get_by_id(session, user_id), upload_id)

    await run_in_transaction("people", work)


class _Begun:
    """An upload that grows as the form comes in."""

    def __init__(self, user_id: str, address: str) -> None:
        self.user_id, self.address = user_id, address
        self.upload_id = self.file_name = ""
        self.received = self.most_bytes = 0

    def begin(self, file_name: str, most_bytes: int) -> Callable[[bytes], None]:
        self.upload_id = uploads.begin_alone(self.user_id, self.address, file_name, most_bytes)
        self.file_name, self.most_bytes = file_name, most_bytes
        return self._take

    def _take(self, piece: bytes) -> None:
        self.received = uploads.append_alone(self.upload_id, self.received, piece, self.most_bytes)

    def complete(self, session: DatabaseSession) -> None:
        self._open(session, partial(uploads.complete_short, size_bytes=self.received))

    def drop(self, session: DatabaseSession) -> None:
        self._open(session, uploads.delete)

    def _open(self, session: DatabaseSession, work: Callable[..., Any]) -> None:
        session.info[audit.ADDRESS] = self.address
        work(session, users.get_by_id(session, self.user_id), self.upload_id)
