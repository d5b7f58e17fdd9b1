"""Signing in, registering and signing out; these forms work before there is a session."""

from __future__ import annotations

import secrets
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from backend.domain.errors import Conflict, Invalid, NotAllowed, NotSignedIn, TooManyAttempts
from backend.services import throttling, users
from backend.settings import get_settings
from backend.web.deps import (
    CSRF_COOKIE,
    SESSION_COOKIE,
    DatabaseSession,
    SignedIn,
    Visitor,
    get_address,
    require_form_token,
)
from backend.web.pages.rendering import render_page, set_cookie

router = APIRouter()

MAX_USERNAME_LENGTH = 64
Text = Annotated[str, Form()]


def choose_next(wanted: str) -> str:
    """Return where to go after signing in: a path of this server, or the overview for anything else."""
    parts = urlsplit(wanted)
    is_local = (
        wanted.startswith("/") and not wanted.startswith("//") and not parts.scheme and not parts.netloc
    )
    is_plain = wanted.isprintable() and "\\" not in wanted
    leads_on = parts.path not in ("/login", "/register", "/logout")
    return wanted if is_local and is_plain and leads_on else "/"


# -- signing in --------------------------------------------------------------------------------------------


@router.get("/login")
def show_sign_in(request: Request, visitor: Visitor, next: str = "") -> Response:
    """Show the form; who is signed in already goes on."""
    if visitor is not None:
        return RedirectResponse(choose_next(next), status_code=303)
    return _render_form(request, "account/sign_in.html", next=choose_next(next))


@router.post("/login")
def sign_in(
    request: Request,
    session: DatabaseSession,
    form_token: Text = "",
    username: Text = "",
    password: Text = "",
    next: Text = "",
) -> Response:
    """Start a session, or show the form again with what is wrong."""
    try:
        require_form_token(request, form_token)
        user_id = users.authenticate(username[:MAX_USERNAME_LENGTH], password, get_address(request))
    except (NotAllowed, NotSignedIn, TooManyAttempts) as refusal:
        values = {"username": username, "next": choose_next(next), "refusal": refusal}
        return _render_form(request, "account/sign_in.html", status=refusal.status, **values)
    return _enter(request, session, user_id, choose_next(next))


# -- registering -------------------------------------------------------------------------------------------


@router.get("/register")
def show_registration(request: Request, visitor: Visitor, next: str = "") -> Response:
    """Show the form, or say that registration is closed."""
    if visitor is not None:
        return RedirectResponse(choose_next(next), status_code=303)
    return _render_form(request, "account/register.html", next=choose_next(next))


@router.post("/register")
def register(
    request: Request,
    session: DatabaseSession,
    form_token: Text = "",
    username: Text = "",
    password: Text = "",
    repeated: Text = "",
    next: Text = "",
) -> Response:
    """Make an account and sign in, or show the form again with what is wrong."""
    values: dict[str, Any] = {"username": username[:MAX_USERNAME_LENGTH], "next": choose_next(next)}
    if password != repeated:
        return _render_form(
            request, "account/register.html", status=422, faults={"repeated": "differs"}, **values
        )
    try:
        require_form_token(request, form_token)
        user = users.register(session, username[: MAX_USERNAME_LENGTH + 1], password)
    except Invalid as refusal:
        values["faults"] = {str(problem.loc[0]): problem.msg for problem in refusal.problems}
        return _render_form(request, "account/register.html", status=refusal.status, **values)
    except (NotAllowed, Conflict) as refusal:
        return _render_form(
            request, "account/register.html", status=refusal.status, refusal=refusal, **values
        )
    return _enter(request, session, user.id, values["next"])


# -- in and out --------------------------------------------------------------------------------------------


@router.post("/logout", status_code=204)
def sign_out(request: Request, response: Response, user: SignedIn, session: DatabaseSession) -> None:
    """End this browser's session."""
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie:
        users.end_session(session, cookie)
    response.delete_cookie(SESSION_COOKIE, path="/")


def _enter(request: Request, session: DatabaseSession, user_id: str, following: str) -> Response:
    previous = request.cookies.get(SESSION_COOKIE)
    if previous:
        users.end_session(session, previous)
    response = RedirectResponse(following, status_code=303)
    lifetime = users.SESSION_DAYS * 86400
    set_cookie(response, SESSION_COOKIE, users.start_session(session, user_id), max_age_seconds=lifetime)
    response.delete_cookie(CSRF_COOKIE, path="/")
    return response


def _render_form(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """Render a form with its token, which is also in a cookie: another site can send neither."""
    token = request.cookies.get(CSRF_COOKIE) or secrets.token_urlsafe(24)
    known: dict[str, Any] = {
        "form_token": token,
        "username": "",
        "refusal": None,
        "faults": {},
        "is_registration_open": get_settings().registration == "open",
        "min_password_length": users.MIN_PASSWORD_LENGTH,
        "throttle_minutes": throttling.THROTTLE_MINUTES,
    }
    response = render_page(request, template, status=status, **(known | values))
    set_cookie(response, CSRF_COOKIE, token)
    refusal = values.get("refusal")
    if isinstance(refusal, TooManyAttempts):
        response.headers["Retry-After"] = str(refusal.retry_after_seconds)
    return response
