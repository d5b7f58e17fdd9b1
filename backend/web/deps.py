"""Who is asking, and the transaction in which they are answered."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from backend.database import transaction
from backend.domain.errors import Invalid, NotAllowed, NotSignedIn, Problem
from backend.services import audit, users
from backend.settings import get_settings
from backend.tables.user import User
from backend.web.turns import get_line

SESSION_COOKIE = "tuneforge_session"
CSRF_HEADER = "x-csrf-token"
CSRF_COOKIE = "tuneforge_csrf"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


async def open_transaction(request: Request) -> AsyncIterator[Session]:
    """One request, one transaction: committed before the answer leaves, rolled back when the route raises.

    Opening costs nothing yet, as the first query takes the connection; only the end needs a thread.
    """
    async with get_line("people"):
        work = transaction()
        session = work.__enter__()
        session.info[audit.ADDRESS] = get_address(request)
        try:
            yield session
        except BaseException as error:
            await run_in_threadpool(work.__exit__, type(error), error, error.__traceback__)
            raise
        await run_in_threadpool(work.__exit__, None, None, None)


# Without scope="function" FastAPI would commit after the answer was sent, and the next request would miss it.
DatabaseSession = Annotated[Session, Depends(open_transaction, scope="function")]


def find_user(request: Request, session: DatabaseSession) -> User | None:
    """Return who asks, by API token or by the browser's session; a bad token is refused, not ignored.

    With a session, every unsafe method must also show its CSRF token.
    """
    authorization = request.headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        user = users.find_token_user(session, token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise NotSignedIn(
                "This API token is not good; make a new one in the user centre.",
                zh="这个 API 令牌无效，请在用户中心重新创建。",
                code="bad_token",
            )
        return user
    cookie = request.cookies.get(SESSION_COOKIE)
    found = users.find_session(session, cookie) if cookie else None
    if found is None:
        return None
    request.state.csrf_token = found.csrf_token
    if request.method not in SAFE_METHODS:
        require_same_origin(request)
        shown = request.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(shown.encode(), found.csrf_token.encode()):
            raise NotAllowed(
                "The page is out of date; reload it and try again.",
                zh="页面已过期，请刷新后重试。",
                code="csrf",
            )
    return found.user


Visitor = Annotated[User | None, Depends(find_user, scope="function")]


async def require_user(user: Visitor, request: Request) -> User:
    """Let in only who is signed in, and asks what the route understands."""
    return _require(user, request)


def _require(user: User | None, request: Request) -> User:
    if user is None:
        raise NotSignedIn("Sign in, or show an API token: Authorization: Bearer <token>.")
    if request.url.path.startswith("/api/"):
        _refuse_unknown_parameters(request)
    return user


def _list_parameters(dependant: Any) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for part in dependant.dependencies:
        yield from _list_parameters(part)


def _refuse_unknown_parameters(request: Request) -> None:
    """A misspelt filter would else be ignored, and answered with everything."""
    known = set(_list_parameters(request.scope["route"].dependant))
    problems = [
        Problem(
            ("query", name),
            f"there is no such parameter; there is {', '.join(sorted(known)) or 'none'}",
            f"没有这个参数；可用：{'、'.join(sorted(known)) or '无'}",
        )
        for name in request.query_params
        if name not in known
    ]
    if problems:
        raise Invalid(problems)


SignedIn = Annotated[User, Depends(require_user, scope="function")]


def identify(request: Request) -> str:
    """Return the id of who is signed in, without holding a transaction while the route runs.

    For routes that ask the network, which must not keep a database connection waiting.
    """
    with transaction() as session:
        return _require(find_user(request, session), request).id


SignedInId = Annotated[str, Depends(identify)]


async def require_administrator(user: SignedIn) -> User:
    """Let in only administrators."""
    if user.role != "administrator":
        raise NotAllowed(
            "Only administrators may do this.", zh="仅限管理员操作。", code="administrators_only"
        )
    return user


Administrator = Annotated[User, Depends(require_administrator, scope="function")]


def require_same_origin(request: Request) -> None:
    """Refuse what another site's page sends."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise NotAllowed("This came from another site.", code="csrf")
    origin = request.headers.get("origin")
    if origin is not None and _read_place(origin) != request.headers.get("host", ""):
        raise NotAllowed("This came from another site.", code="csrf")


def _read_place(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def require_form_token(request: Request, form_token: str) -> None:
    """Check the token of a form that is sent before there is a session: it must equal its own cookie."""
    require_same_origin(request)
    cookie = request.cookies.get(CSRF_COOKIE, "")
    if not cookie or not hmac.compare_digest(cookie.encode(), form_token.encode()):
        raise NotAllowed(
            "The page is out of date; reload it and try again.",
            zh="页面已过期，请刷新后重试。",
            code="csrf",
        )


def get_address(request: Request) -> str:
    """Return the address that asks, as the server sees it."""
    return request.client.host if request.client else "unknown"


def require_metrics_reader(request: Request) -> None:
    """Let in loopback, or who shows the node token, as the setting says."""
    settings = get_settings()
    if settings.metrics == "loopback" and _is_loopback(get_address(request)):
        return
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), settings.node_token.encode()):
        raise NotSignedIn("Metrics are for this machine, or for who shows the node token.")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
