"""How a page is rendered: both languages stand in its template, and scripts are found by the build's manifest."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from backend.settings import get_settings
from backend.tables.user import User

logger = logging.getLogger(__name__)

FRONTEND = Path(__file__).resolve().parents[3] / "frontend"
DIST = FRONTEND / "dist"
LANGUAGES = ("zh", "en")
LANGUAGE_COOKIE = "tuneforge_language"
AS_THE_BROWSER = "auto"
"""In the address (`?lang=auto`): forget what was chosen and follow the browser again."""
NOT_BUILT = (
    "The pages are not built: run `make setup` (or `npm ci && npm run build` in frontend/), "
    "then start the platform again. The REST interface works without them.\n"
)

_YEAR_SECONDS = 365 * 86400
_environment = Environment(
    loader=FileSystemLoader(FRONTEND / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class NotBuilt(Exception):
    """The front end's build is not there."""


@lru_cache(maxsize=1)
def _read_manifest(changed_at: float) -> dict[str, str]:
    manifest: dict[str, str] = json.loads((DIST / "manifest.json").read_text("utf-8"))
    return manifest


def find_asset(name: str) -> str:
    """Return the address of a built file, such as `pages/jobs.ts`; it changes with the file's contents.

    Raises NotBuilt when there is no build, or an older one that lacks the file.
    """
    try:
        built = _read_manifest((DIST / "manifest.json").stat().st_mtime)[name]
    except (OSError, KeyError) as error:
        raise NotBuilt(name) from error
    return f"/static/{built}"


def choose_language(request: Request, user: User | None = None) -> str:
    """Return `zh` or `en`: as asked in the address, else as the person set, as the cookie says, as the browser asks."""
    asked = request.query_params.get("lang")
    set_before = None if asked == AS_THE_BROWSER else request.cookies.get(LANGUAGE_COOKIE)
    for language in (asked, user.language if user is not None else None, set_before):
        if language in LANGUAGES:
            return language
    return parse_accept_language(request.headers.get("accept-language", ""))


def parse_accept_language(header: str) -> str:
    """Return the language that an Accept-Language header likes best of ours; English when it likes neither."""
    liked: dict[str, float] = {}
    for part in header.split(","):
        tag, _, weight = part.partition(";")
        language = tag.strip().lower().split("-")[0]
        match = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", weight)
        if language in LANGUAGES:
            liked[language] = max(liked.get(language, 0.0), float(match[1]) if match else 1.0)
    best = max(liked, key=lambda language: liked[language], default="en")
    return best if liked.get(best, 0.0) > 0 else "en"


def choose_text(language: str) -> Callable[[str, str], str]:
    """Return `t(zh, en)`, which gives the text in `language`."""

    def t(zh: str, en: str) -> str:
        return zh if language == "zh" else en

    return t


def render_page(
    request: Request, template: str, user: User | None = None, *, status: int = 200, **values: Any
) -> Response:
    """Render a template of `frontend/templates` for `user` (None: a stranger), with `values` in it.

    Every template has `t(zh, en)`, `language`, `asset(name)`, `viewer` (`username` and `is_administrator`, or None),
    `csrf_token` and `path`.
    """
    language = choose_language(request, user)
    viewer = None
    if user is not None:
        viewer = {"username": user.username, "is_administrator": user.role == "administrator"}
    known = {
        "t": choose_text(language),
        "language": language,
        "asset": find_asset,
        "viewer": viewer,
        "csrf_token": getattr(request.state, "csrf_token", None) if user is not None else None,
        "path": request.url.path,
        "language_urls": {other: _build_language_url(request, other) for other in LANGUAGES},
    }
    try:
        body = _environment.get_template(template).render(known | values)
    except NotBuilt as missing:
        logger.error("%s Missing: %s", NOT_BUILT.strip(), missing)
        return PlainTextResponse(NOT_BUILT, status_code=503)
    response = HTMLResponse(body, status_code=status, headers={"Content-Language": language})
    response.headers["Vary"] = "Accept-Language, Cookie"
    _remember_language(request, response, user, language)
    return response


def _remember_language(request: Request, response: Response, user: User | None, language: str) -> None:
    """Keep a chosen language in a cookie, for pages that do not know who asks (sign-in, errors)."""
    asked, kept = request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)
    is_chosen = asked in LANGUAGES or (user is not None and user.language is not None)
    if is_chosen and kept != language:
        set_cookie(response, LANGUAGE_COOKIE, language, max_age_seconds=_YEAR_SECONDS)
    elif asked == AS_THE_BROWSER and kept is not None:
        response.delete_cookie(LANGUAGE_COOKIE, path="/")


def set_cookie(response: Response, name: str, value: str, *, max_age_seconds: int | None = None) -> None:
    """Set a cookie that scripts cannot read and other sites do not send."""
    response.set_cookie(
        name,
        value,
        max_age=max_age_seconds,
        path="/",
        httponly=True,
        secure=get_settings().secure_cookies,
        samesite="lax",
    )


def _build_language_url(request: Request, language: str) -> str:
    url = request.url.include_query_params(lang=language)
    return f"{url.path}?{url.query}"
