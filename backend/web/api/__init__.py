"""The REST interface, version 1."""

from __future__ import annotations

from fastapi import APIRouter

from backend.web.api import (
    admin,
    catalogue,
    datasets,
    files,
    jobs,
    me,
    oversight,
    stream,
    tokens,
    uploads,
    users,
)


def build_api_router() -> APIRouter:
    """Return every route under `/api/v1`."""
    router = APIRouter(prefix="/api/v1")
    for module in (users, tokens, me, catalogue, datasets, uploads, files, jobs, stream, admin, oversight):
        router.include_router(module.router)
    return router
