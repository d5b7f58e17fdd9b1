"""Starts a board when somebody looks at a job, shares it, and ends it when nobody has for a while."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from backend.board.gate import BoardAnswer, build_headers, find_target, refuse, rewrite_body
from backend.board.merge import Signature, list_sources, merge, sign

IDLE_SECONDS = 600.0
START_SECONDS = 30.0
ANSWER_SECONDS = 30.0
MAX_BOARDS = 16
"""A board holds about 80 MB; the one looked at longest ago makes room."""
ANSWER_LIMIT = 64 * 1024 * 1024
KEEP_ASSETS_SECONDS = 86400


class BoardFailed(Exception):
    """A board did not start or did not answer."""


@dataclass
class Board:
    """One job's board while it lives."""

    folder: Path
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    process: asyncio.subprocess.Process | None = None
    client: httpx.AsyncClient | None = None
    signature: Signature | None = None
    used_at: float = 0.0


class BoardKeeper:
    """Keeps at most one board a job; belongs to one event loop, which must call `close` before it ends."""

    def __init__(self, *, idle_seconds: float = IDLE_SECONDS, max_boards: int = MAX_BOARDS) -> None:
        self._idle_seconds = idle_seconds
        self._max_boards = max_boards
        self._boards: dict[str, Board] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def fetch(
        self, job_id: str, swanlog_dirs: list[Path], ended: bool, target: str
    ) -> httpx.Response | None:
        """Ask the job's board for `target`, starting it when there is none; None when there is nothing to show.

        Raises BoardFailed when it cannot be started or does not answer in time.
        """
        async with self._hold(job_id) as board:
            if not await self._refresh(board, swanlog_dirs, ended):
                return None
            if not _is_alive(board):
                await self._make_room(board)
                await self._start(board)
            client = board.client
        assert client is not None
        try:
            return await _read(client, target)
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: ended meanwhile to make room
            raise BoardFailed(f"the board did not answer: {type(error).__name__}") from error

    async def close(self) -> None:
        """End every board and forget it."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        await asyncio.gather(*(self._end(job_id) for job_id in list(self._boards)))

    def count(self) -> int:
        """Return how many board processes are alive."""
        return sum(1 for board in self._boards.values() if _is_alive(board))

    @contextlib.asynccontextmanager
    async def _hold(self, job_id: str) -> AsyncIterator[Board]:
        """Hold the job's board, making it known when it is new, so that one request at a time starts it."""
        while True:
            board = self._boards.get(job_id)
            if board is None:
                board = self._boards[job_id] = Board(Path(tempfile.mkdtemp(prefix="tuneforge-board-")))
            board.used_at = time.monotonic()
            self._sweep_from_now_on()
            async with board.lock:
                if self._boards.get(job_id) is board:  # it may have been ended while we waited
                    yield board
                    return

    async def _refresh(self, board: Board, swanlog_dirs: list[Path], ended: bool) -> bool:
        sources = await asyncio.to_thread(list_sources, swanlog_dirs, ended)
        if not sources:
            return False
        signature = await asyncio.to_thread(sign, sources)
        if signature != board.signature:
            try:
                await asyncio.to_thread(merge, sources, board.folder)
                board.signature = signature
            except (sqlite3.Error, OSError):  # caught in the middle of being written: what was there stays
                return board.signature is not None
        return True

    async def _start(self, board: Board) -> None:
        socket = board.folder / "socket"
        socket.unlink(missing_ok=True)
        board.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "backend.board.serve", str(board.folder), str(socket)),
            env=_build_environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        if board.client is not None:
            await board.client.aclose()
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        board.client = httpx.AsyncClient(transport=transport, base_url="http://board", timeout=ANSWER_SECONDS)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and board.process.returncode is None:
            if await _accepts(socket):
                return
            await asyncio.sleep(0.05)
        await _stop(board)
        raise BoardFailed("the board did not start")

    async def _make_room(self, newcomer: Board) -> None:
        others = [
            (b.used_at, job_id) for job_id, b in self._boards.items() if _is_alive(b) and b is not newcomer
        ]
        for _, job_id in sorted(others)[: max(0, len(others) - self._max_boards + 1)]:
            await self._end(job_id)

    def _sweep_from_now_on(self) -> None:
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def _sweep(self) -> None:
        while self._boards:
            await asyncio.sleep(self._idle_seconds / 4)
            longest_ago = time.monotonic() - self._idle_seconds
            for job_id, board in list(self._boards.items()):
                if board.used_at < longest_ago and not board.lock.locked():
                    await self._end(job_id)

    async def _end(self, job_id: str) -> None:
        board = self._boards.pop(job_id, None)
        if board is not None:
            await _stop(board)
            await asyncio.to_thread(shutil.rmtree, board.folder, ignore_errors=True)


async def serve_board(
    keeper: BoardKeeper,
    job_id: str,
    swanlog_dirs: list[Path],
    method: str,
    path: str,
    query: str = "",
    *,
    ended: bool = False,
    prefix: str | None = None,
) -> BoardAnswer:
    """Answer one request for `/jobs/{job_id}/board/{path}`; the caller has checked who is asking.

    `path` is decoded, without its leading slash; `swanlog_dirs` are the attempts' folders, oldest first; `ended`
    says that the job will write no more. No listed route takes a `query`, so none is passed on.
    """
    if method not in ("GET", "HEAD"):
        return refuse(405, "The board can be looked at, not changed.", "训练看板仅供查看，不能修改。")
    target = find_target(path)
    if target is None:
        return refuse(404, "The board has no such page.", "看板中没有这个页面。")
    try:
        found = await keeper.fetch(job_id, swanlog_dirs, ended, target)
    except BoardFailed:
        return refuse(
            502, "The board is not answering. Try again in a minute.", "看板暂时没有响应，请稍后重试。"
        )
    if found is None:
        return refuse(
            404,
            "This job has no local tracking yet. It appears once training begins.",
            "该任务还没有本地跟踪数据，训练开始后会出现。",
        )
    return _build_answer(found, target, method, prefix or f"/jobs/{job_id}/board/")


def _build_answer(found: httpx.Response, target: str, method: str, prefix: str) -> BoardAnswer:
    content_type = found.headers.get("content-type", "application/octet-stream")
    # swanboard answers 500 for an experiment or metric that it does not have.
    status = 404 if found.status_code >= 500 else found.status_code
    is_asset = target.startswith("/assets/") and status == 200
    headers = build_headers(content_type, keep_seconds=KEEP_ASSETS_SECONDS if is_asset else 0)
    body = rewrite_body(target, content_type, found.content, prefix)
    return BoardAnswer(status, headers, b"" if method == "HEAD" else body)


async def _read(client: httpx.AsyncClient, target: str) -> httpx.Response:
    async with client.stream("GET", target) as response:
        parts, size = [], 0
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size > ANSWER_LIMIT:
                raise BoardFailed("the board's answer is too long")
        kind = response.headers.get("content-type", "application/octet-stream")
        return httpx.Response(response.status_code, headers={"content-type": kind}, content=b"".join(parts))


async def _stop(board: Board) -> None:
    if board.client is not None:
        await board.client.aclose()
        board.client = None
    process, board.process = board.process, None
    if process is not None and process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # it holds nothing that could be lost
        await process.wait()


async def _accepts(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    writer.close()
    return True


def _is_alive(board: Board) -> bool:
    return board.process is not None and board.process.returncode is None


def _build_environment() -> dict[str, str]:
    """Return what a board's process may know: no database, no secrets."""
    kept = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR", "TZ")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONUNBUFFERED": "1"}
