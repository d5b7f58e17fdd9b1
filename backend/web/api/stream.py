"""Live pages: one broadcaster per process looks at the watched jobs and wakes their streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from backend.services import jobs, live
from backend.services.live import Cursor, LiveJob
from backend.web.api import shapes
from backend.web.api.jobs import JobId
from backend.web.deps import DatabaseSession, SignedIn

router = APIRouter(tags=["jobs"])

LOOK_SECONDS = 0.7
KEEP_ALIVE_SECONDS = 15.0


class Broadcaster:
    """Looks at all watched jobs with one query at a time, however many pages watch them."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[asyncio.Queue[LiveJob | None]]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def watch(self, job_id: str) -> AsyncIterator[asyncio.Queue[LiveJob | None]]:
        """Give a mailbox of size one in which the newest look at the job lies; None says that all ends."""
        mailbox: asyncio.Queue[LiveJob | None] = asyncio.Queue(maxsize=1)
        self._watchers[job_id].add(mailbox)
        if self._closed:
            mailbox.put_nowait(None)
        elif self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_on())
        try:
            yield mailbox
        finally:
            self._watchers[job_id].discard(mailbox)
            if not self._watchers[job_id]:
                del self._watchers[job_id]

    async def _look_on(self) -> None:
        while self._watchers and not self._closed:
            watched = list(self._watchers)
            # A database that is away for a while ends no stream: the next look tells what was missed.
            with contextlib.suppress(Exception):
                found = await run_in_threadpool(live.read_jobs, watched)
                for job_id in watched:
                    self._put(job_id, found.get(job_id))
            await asyncio.sleep(LOOK_SECONDS)

    def _put(self, job_id: str, look: LiveJob | None) -> None:
        for mailbox in self._watchers.get(job_id, ()):
            if mailbox.full():
                mailbox.get_nowait()
            mailbox.put_nowait(look)

    def close(self) -> None:
        """End every stream; browsers come back by themselves and resume."""
        self._closed = True
        for job_id in list(self._watchers):
            self._put(job_id, None)


@router.get("/jobs/{job_id}/stream")
async def stream_job(
    job_id: JobId,
    request: Request,
    user: SignedIn,
    session: DatabaseSession,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=100)] = None,
    since: Annotated[str | None, Query(alias="last_event_id", max_length=100)] = None,
) -> StreamingResponse:
    """Follow a job: `status`, `progress`, `metric`, `log`, and `end` when it is finished.

    `last_event_id` in the address is for a browser's first connection, whose headers a page cannot set;
    the header, which the browser sends when it connects again by itself, is newer and comes first.
    """
    await run_in_threadpool(jobs.get_job, session, user, job_id)
    broadcaster: Broadcaster = request.app.state.broadcaster
    return StreamingResponse(
        _follow(broadcaster, job_id, live.parse_cursor(last_event_id or since)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _follow(broadcaster: Broadcaster, job_id: str, cursor: Cursor) -> AsyncIterator[str]:
    shown: dict[str, Any] = {}
    is_ended = False
    yield "retry: 2000\n\n"
    told_at = time.monotonic()
    async with broadcaster.watch(job_id) as mailbox:
        while not is_ended:
            with contextlib.suppress(TimeoutError):
                look = await asyncio.wait_for(mailbox.get(), KEEP_ALIVE_SECONDS)
                if look is None:
                    return
                # Should the database go away before all is told, the next look tells the rest.
                with contextlib.suppress(Exception):
                    async for reached, event in _tell(look, shown, cursor):
                        yield event
                        cursor, told_at = reached, time.monotonic()
                    is_ended = look.is_finished
            if not is_ended and time.monotonic() - told_at >= KEEP_ALIVE_SECONDS:
                # An event and not a comment: pages must see it, to know that a silent line still lives.
                yield _write_event("alive", {}, cursor)
                told_at = time.monotonic()


async def _tell(look: LiveJob, shown: dict[str, Any], cursor: Cursor) -> AsyncIterator[tuple[Cursor, str]]:
    """Yield what is new at this look, with the cursor after each event; `shown` keeps what was told."""
    status = shapes.show_job(look.job, prospect=look.prospect, node_name=look.node_name)
    progress = status["progress"]
    if _without_progress(status) != _without_progress(shown):
        yield cursor, _write_event("status", status, cursor)
    elif progress != shown["progress"]:
        yield cursor, _write_event("progress", progress, cursor)
    shown.update(status)
    async for reached, event in _catch_up(look, cursor):
        yield reached, event
        cursor = reached
    if look.is_finished:
        yield cursor, _write_event("end", {"status": status["status"]}, cursor)


def _without_progress(status: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if name not in ("progress", "actual")}


async def _catch_up(look: LiveJob, cursor: Cursor) -> AsyncIterator[tuple[Cursor, str]]:
    """Yield what is between the cursor and the look, with the cursor after each event."""
    points = await run_in_threadpool(live.read_points, look.job.id, cursor)
    if points:
        last = points[-1]
        cursor = Cursor(last.noted_at, last.step, cursor.log_offset)
        yield (
            cursor,
            _write_event("metric", {"points": [shapes.show_point(point) for point in points]}, cursor),
        )
    while cursor.log_offset < look.log_bytes:
        text, following = await run_in_threadpool(
            live.read_log_piece, look.job.id, cursor.log_offset, is_finished=look.is_finished
        )
        if following == cursor.log_offset:
            return
        body = {"offset": cursor.log_offset, "text": text, "next": following}
        cursor = Cursor(cursor.noted_at, cursor.step, following)
        yield cursor, _write_event("log", body, cursor)


def _write_event(name: str, data: dict[str, Any], cursor: Cursor) -> str:
    return f"event: {name}\nid: {cursor}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
