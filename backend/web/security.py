"""What guards every request: sizes, odd characters, and the headers that browsers obey."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.web.errors import build_problem

MAX_BODY_BYTES = 1 << 20
MAX_REPORT_BYTES = 16 << 20
MAX_PIECE_BYTES = 8 << 20
MAX_FORM_BYTES = (50 << 30) + MAX_BODY_BYTES
MAX_QUERY_BYTES = 8192

_PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def install_security(app: FastAPI) -> None:
    """Put the guards around the whole application."""
    app.add_middleware(BodyLimit)
    app.add_middleware(Headers)


class Headers:
    """Adds the security headers to every answer; a route's own policy is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with headers added to its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, send_with_headers)


# NUL, which the database cannot keep, and halves of surrogate pairs, which nothing can: as bytes, and as escapes.
_UNKEEPABLE = re.compile(rb"\x00|\xed[\xa0-\xbf]")
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


def holds_unkeepable(body: bytes) -> bool:
    """Whether the JSON text `body` holds a NUL or half a surrogate pair; an escaped backslash begins neither."""
    if _UNKEEPABLE.search(body):
        return True
    if not _SUSPECT.search(body):
        return False
    awaited = -1  # where the second half of a pair has to begin
    for escape in _ESCAPE.finditer(body):
        code = int(escape[1], 16) if escape[1] else 1
        is_second_half = 0xDC00 <= code < 0xE000
        if code == 0 or is_second_half != (escape.start() == awaited):
            return True
        awaited = escape.end() if 0xD800 <= code < 0xDC00 else -1
    return awaited != -1


class BodyLimit:
    """Refuses what is too large or cannot be kept, before any route reads it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on unless it is refused; a body is counted as it streams in."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit, is_binary = _find_limit(scope)
        refusal = self._find_refusal(scope, limit)
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        if limit == MAX_FORM_BYTES:  # read piece by piece by its route, straight to the disk
            await self.app(scope, receive, send)
            return
        body = await self._read(receive, limit)
        if body is None:
            await _refuse(send, 413, "too_large", f"A body may have at most {limit} bytes.")
            return
        if not is_binary and holds_unkeepable(body):
            await _refuse(send, 422, "invalid", "The request holds a NUL or half a character; take it out.")
            return
        await self.app(scope, _replay(body, receive), send)

    def _find_refusal(self, scope: Scope, limit: int) -> tuple[int, str, str] | None:
        if "\x00" in scope["path"] or "\x00" in unquote(scope["query_string"].decode("latin-1")):
            return 422, "invalid", "The address holds a NUL character; take it out."
        if len(scope["query_string"]) > MAX_QUERY_BYTES:
            return 414, "too_long", "The address is too long."
        for name, value in scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or int(value) > limit):
                return 413, "too_large", f"A body may have at most {limit} bytes."
        return None

    async def _read(self, receive: Receive, limit: int) -> bytes | None:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b"".join(pieces)
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                return None
            if not message.get("more_body", False):
                return b"".join(pieces)


def _find_limit(scope: Scope) -> tuple[int, bool]:
    """Return how long a request's body may be, and whether it is bytes that nobody reads as text."""
    path, method = scope["path"], scope["method"]
    if path.startswith("/internal/"):
        return MAX_REPORT_BYTES, False
    if method == "PATCH" and path.startswith("/api/v1/uploads/"):
        return MAX_PIECE_BYTES, True
    is_form = any(
        name == b"content-type" and value.startswith(b"multipart/form-data")
        for name, value in scope["headers"]
    )
    if method == "POST" and path == "/api/v1/datasets" and is_form:
        return MAX_FORM_BYTES, True
    return MAX_BODY_BYTES, False


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body once; after that, pass on what the server says (that the client left)."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _refuse(send: Send, status: int, code: str, detail: str) -> None:
    body: dict[str, Any] = build_problem(status, code, "The request was refused", detail)
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
