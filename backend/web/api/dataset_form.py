"""A dataset sent as a form: its file goes straight to the disk, piece by piece, whatever its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from backend.domain.errors import Invalid, Problem
from backend.services.uploads import CHUNK_BYTES

_MOST_TEXT_BYTES = 10_000
_MOST_HEADER_BYTES = 10_000
Begin = Callable[[str, int], Callable[[bytes], None]]
"""Given the file's name and the most bytes it can have, return what takes its bytes."""


class _Form:
    """What the parser tells, until the caller takes it."""

    def __init__(self) -> None:
        self.fields: dict[str, bytes] = {}
        self.file_name: str | None = None
        self.pieces = bytearray()
        self._header = [b"", b""]
        self._part: str | None = None
        self._is_file = False

    def on_part_begin(self) -> None:
        self._part, self._is_file, self._header = None, False, [b"", b""]

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._add_header(0, data[start:end])

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._add_header(1, data[start:end])

    def _add_header(self, place: int, piece: bytes) -> None:
        self._header[place] += piece
        if len(self._header[place]) > _MOST_HEADER_BYTES:
            raise FormParserError("a header is too long")

    def on_header_end(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        if name.lower() != b"content-disposition":
            return
        _, options = parse_options_header(value)
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        if self._part == "file" and b"filename" in options:
            if self.file_name is not None:
                raise FormParserError("there are two files")
            self.file_name, self._is_file = options[b"filename"].decode("utf-8", "replace"), True

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.pieces += data[start:end]
            return
        field = self.fields.get(self._part or "", b"") + data[start:end]
        if len(field) > _MOST_TEXT_BYTES or len(self.fields) > 20:
            raise FormParserError("the form has too much besides its file")
        self.fields[self._part or ""] = field


async def receive_form(request: Request, begin: Begin) -> dict[str, str]:
    """Take a form with the part `file`, handing its bytes on as they come; return the other parts as text.

    Raises Invalid for what is no such form.
    """
    length = request.headers.get("content-length", "")
    _, options = parse_options_header(request.headers.get("content-type"))
    if not length.isdigit():
        raise _refuse("say its length: Content-Length", "请提供 Content-Length 请求头")
    form, take = _Form(), None
    try:
        parser = MultipartParser(options.get(b"boundary", b""), _list_callbacks(form))
        async for block in request.stream():
            parser.write(block)
            if form.file_name is not None and take is None:
                take = await run_in_threadpool(begin, form.file_name, int(length))
            if take is not None and len(form.pieces) >= CHUNK_BYTES:
                await run_in_threadpool(take, bytes(form.pieces))
                form.pieces.clear()
        parser.finalize()
    except (FormParserError, ClientDisconnect) as error:
        raise _refuse(f"this is no form that can be read: {error}", "无法读取该表单") from None
    if take is None or parser.state != parser.state.END:
        raise _refuse("the part `file` is missing, or the form ends too soon", "缺少 file 字段，或表单不完整")
    await run_in_threadpool(take, bytes(form.pieces))
    return {name: value.decode("utf-8", "replace") for name, value in form.fields.items()}


def _list_callbacks(form: _Form) -> Any:
    return {name: getattr(form, name) for name in dir(form) if name.startswith("on_")}


def _refuse(why: str, why_zh: str) -> Invalid:
    return Invalid([Problem(("file",), why, why_zh)])
