"""The web process: REST, pages, event streams and the nodes' door in one FastAPI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from backend import dataset_pages
from backend.board import BoardKeeper
from backend.database import transaction
from backend.services import catalogue, uptime, users
from backend.settings import get_settings, read_or_make_secret
from backend.tables.base import utc_now
from backend.web.api import build_api_router, health
from backend.web.api.stream import Broadcaster
from backend.web.errors import install_error_handlers
from backend.web.internal import router as internal_router
from backend.web.pages import install_pages
from backend.web.security import install_security


def prepare() -> None:
    """Make sure that the administrator exists and that what lies in the home is known."""
    settings = get_settings()
    password = settings.admin_password or read_or_make_secret("admin_password")
    with transaction() as session:
        users.ensure_admin(session, password)
        catalogue.discover(session)


def _note_answering() -> None:
    with transaction() as session:
        uptime.note_alive(session, uptime.API, utc_now())


async def _keep_pulse() -> None:
    """Note time and again that we answer; while the database is away we do not, and nothing is noted."""
    while True:
        with suppress(Exception):
            await run_in_threadpool(_note_answering)
        await asyncio.sleep(uptime.RENEW_SECONDS)


@asynccontextmanager
async def _live(app: FastAPI) -> AsyncIterator[None]:
    dataset_pages.prepare()
    prepare()
    app.state.broadcaster = Broadcaster()
    app.state.board_keeper = BoardKeeper()
    pulse = asyncio.create_task(_keep_pulse())
    try:
        yield
    finally:
        pulse.cancel()
        app.state.broadcaster.close()
        await app.state.board_keeper.close()
        dataset_pages.close()


def build_app() -> FastAPI:
    """Return the application with every route, in one place."""
    app = FastAPI(
        title="Tuneforge",
        version="1",
        lifespan=_live,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    install_error_handlers(app)
    install_security(app)
    # Routes are tried in this order, and most requests by far are reports.
    app.include_router(internal_router)
    app.include_router(health.router)
    app.include_router(build_api_router())
    install_pages(app)
    return app


app = build_app()
