"""The pages: templates rendered here, data fetched by their scripts through the REST interface."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Scope

from backend.web.pages import (
    account,
    admin,
    board,
    comparison,
    data,
    errors,
    evaluate_form,
    files,
    job_centre,
    job_detail,
    models,
    overview,
    sign_in,
    train_form,
)
from backend.web.pages.rendering import DIST, NOT_BUILT

logger = logging.getLogger(__name__)

_MODULES = (
    sign_in,
    overview,
    train_form,
    evaluate_form,
    job_centre,
    comparison,
    data,
    models,
    files,
    account,
    admin,
    job_detail,
    board,
)


def install_pages(app: FastAPI) -> None:
    """Add every page, the built files under `/static/`, and the pages that errors show people."""
    if not (DIST / "manifest.json").is_file():
        logger.error(NOT_BUILT.strip())
    app.mount("/static", BuiltFiles(directory=DIST, check_dir=False), name="static")
    for module in _MODULES:
        app.include_router(module.router, include_in_schema=False)
    app.state.error_page = errors.render_error


class BuiltFiles(StaticFiles):
    """The build's files: their names change with their contents, so browsers may keep them for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file, to be kept unless it is the manifest."""
        response = await super().get_response(path, scope)
        if response.status_code in (200, 206, 304) and not path.endswith("manifest.json"):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
