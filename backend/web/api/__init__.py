"""The REST interface, version 1."""

from __future__ import annotations

from fastapi import APIRouter

from backend.web.api import (
    admin,
    catalogue,
    datasets,
    files,
    hubs,
    jobs,
    me,
    models,
    oversight,
    stream,
    tokens,
    uploads,
    users,
)


def build_api_router() -> APIRouter:
    """Return every route under `/api/v1`."""
    router = APIRouter(prefix="/api/v1")
    parts = (
        users,
        tokens,
        me,
        models,
        catalogue,
        datasets,
        uploads,
        files,
        hubs,
        jobs,
        stream,
        admin,
        oversight,
    )
    for module in parts:
        router.include_router(module.router)
    return router
