"""Asks for pages: starts the server of readers, hands it a connection for each request, and survives what comes of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from backend.domain.errors import Conflict, TooManyAttempts

PAGE_SECONDS = 20.0
SEARCH_SECONDS = 60.0
"""How long a reader may take; a search may go through the whole file."""
MOST_AT_ONCE = 3
WAIT_SECONDS = 3.0
MOST_ANSWER_BYTES = 64 << 20
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "PYTHONPATH")
"""What a reader gets of our environment: a file that takes it over shall find no password there."""

_places = threading.BoundedSemaphore(MOST_AT_ONCE)


def read_rows(
    folder: Path,
    info: dict[str, Any],
    offset: int,
    limit: int,
    query: str | None = None,
    finding: str | None = None,
    *,
    findings_file: Path | None = None,
) -> tuple[list[dict[str, Any]], int | None]:
    """Return the rows of a page and how many there are in all (None where not counted to the end)."""
    asked = {"info": info, "offset": offset, "limit": limit, "query": query, "finding": finding}
    asked |= {"findings_file": str(findings_file) if findings_file else None}
    page = json.loads(_ask("rows", folder, asked, PAGE_SECONDS if query is None else SEARCH_SECONDS))
    return page["rows"], page["total"]


def read_rows_at(folder: Path, info: dict[str, Any], numbers: list[int]) -> list[dict[str, Any]]:
    """Return the rows with these numbers, in this order."""
    rows: list[dict[str, Any]] = json.loads(
        _ask("rows_at", folder, {"info": info, "numbers": numbers}, PAGE_SECONDS)
    )
    return rows


def render_row(folder: Path, info: dict[str, Any], index: int, template: str) -> dict[str, Any] | None:
    """Return how LLaMA-Factory's template writes one row, None where there is no such row; KeyError: no such template."""
    answer = json.loads(
        _ask("rendered", folder, {"info": info, "index": index, "template": template}, PAGE_SECONDS)
    )
    if answer == "no such template":
        raise KeyError(template)
    return None if answer is None else dict(answer)


def read_embedded(
    folder: Path, info: dict[str, Any], row: int, kind: str, place: int
) -> tuple[str, bytes] | None:
    """Return the media type and the bytes of a picture, film or sound that a row holds itself, None where it does not."""
    asked = {"info": info, "row": row, "kind": kind, "place": place}
    media_type, _, data = _ask("embedded", folder, asked, PAGE_SECONDS).partition(b"\n")
    return (media_type.decode(), data) if media_type else None


def _ask(what: str, folder: Path, asked: dict[str, Any], seconds: float) -> bytes:
    """Return a reader's answer; raises Conflict where it ended without one, and TooManyAttempts where all are busy."""
    if not _places.acquire(timeout=WAIT_SECONDS):
        raise TooManyAttempts(
            "Many datasets are being read just now. Try again in a few seconds.",
            5,
            zh="当前读取数据集的请求较多，请几秒后重试。",
        )
    try:
        started = time.monotonic()
        request = {"what": what, "folder": str(folder), "seconds": seconds, "asked": asked}
        answer = _exchange(json.dumps(request).encode(), seconds)
    finally:
        _places.release()
    if answer is None:
        raise _explain(what, time.monotonic() - started >= seconds - 0.5, seconds)
    return answer


def _exchange(request: bytes, seconds: float) -> bytes | None:
    """Return the answer, or None where the reader ended before it was whole."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            _server.hand_over(theirs)
        ours.settimeout(seconds + 2)  # the reader ends itself before; this is for a machine that stands still
        try:
            ours.sendall(request)
            ours.shutdown(socket.SHUT_WR)
            return _receive(ours)
        except OSError:  # a reader that crashed resets the connection; TimeoutError is one of these
            return None


def _receive(connection: socket.socket) -> bytes | None:
    """Return what follows the 8 bytes that say how much it is."""
    got, wanted = bytearray(), 8
    while len(got) < wanted:
        block = connection.recv(1 << 20)
        if not block:
            return None
        got += block
        if wanted == 8 and len(got) >= 8:
            wanted += int.from_bytes(got[:8], "big")
            if wanted > MOST_ANSWER_BYTES:
                return None
    return bytes(got[8:])


def _explain(what: str, is_late: bool, seconds: float) -> Conflict:
    if is_late and seconds == SEARCH_SECONDS:
        return Conflict(
            f"The search was given up after {seconds:.0f} seconds. Search for something that stands further ahead.",
            zh=f"搜索超过 {seconds:.0f} 秒，已停止。请搜索更靠前的内容。",
            code="search_too_long",
        )
    return Conflict(
        "The data file of this dataset cannot be shown: reading it crashed, or took too much time or memory, so it is "
        "probably damaged. Write the file anew and upload it again.",
        zh="无法显示该数据集：读取数据文件时崩溃，或耗时、内存超限，文件很可能已损坏。请重新生成数据文件并再次上传。",
        code="file_unreadable",
    )


class _Server:
    """The process that readers are forked from; started when it is first needed, and again when it is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def hand_over(self, connection: socket.socket) -> None:
        """Have a reader serve what comes over this connection."""
        with self._lock:
            try:
                self._send(connection)
            except OSError:  # it was killed since the last time
                self._stop()
                self._send(connection)

    def _send(self, connection: socket.socket) -> None:
        if self._channel is None:
            self._start()
        assert self._channel is not None
        socket.send_fds(self._channel, [b"\0"], [connection.fileno()])

    def start(self) -> None:
        """Start it unless it runs: it takes half a second to be ready, which nobody shall wait for."""
        with self._lock:
            if self._channel is None:
                self._start()

    def stop(self) -> None:
        """End it; readers that are at work end with their own time."""
        with self._lock:
            self._stop()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "backend.dataset_pages.serving"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            )
        self._channel = ours

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


_server = _Server()
prepare, close = _server.start, _server.stop
