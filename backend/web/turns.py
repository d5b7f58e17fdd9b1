"""How many requests may hold a database connection at once; the others wait their turn and take no thread.

Were it left to the pool, requests that hold a connection and wait for a thread could meet threads that wait for a
connection, and nobody would go on. Reports wait in a line of their own, so that a thousand at once stand before no
page, no heartbeat and no claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from backend.database import transaction

Line = Literal["people", "nodes", "reports", "hubs"]
Value = TypeVar("Value")

PLACES: dict[Line, int] = {"people": 12, "nodes": 3, "reports": 4, "hubs": 4}
"""Those who wait for a hub hold a thread and no connection."""

_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Line, asyncio.Semaphore]] = WeakKeyDictionary()


def get_line(line: Line) -> asyncio.Semaphore:
    """Return the line of the running event loop; `async with` it to wait one's turn."""
    lines = _lines.setdefault(asyncio.get_running_loop(), {})
    if line not in lines:
        lines[line] = asyncio.Semaphore(PLACES[line])
    return lines[line]


async def run_in_transaction(line: Line, work: Callable[[Session], Value]) -> Value:
    """Return what `work` returns, done in a transaction of its own and in one thread."""
    async with get_line(line):
        return await run_in_threadpool(_run, work)


def _run(work: Callable[[Session], Value]) -> Value:
    with transaction() as session:
        return work(session)
