"""What people see when something is refused or broken; strangers are sent to sign in and come back."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from backend.web.pages.rendering import render_page


def render_error(request: Request, problem: dict[str, Any]) -> Response:
    """Return the page for a refusal, given as the REST contract's problem."""
    if problem["status"] == 401 and request.url.path != "/login":
        return RedirectResponse(build_sign_in_url(request), status_code=303)
    return render_page(request, "errors/error.html", status=problem["status"], problem=problem)


def build_sign_in_url(request: Request) -> str:
    """Return the sign-in page that leads back to what was asked for."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method not in ("GET", "HEAD") or wanted == "/":
        return "/login"
    return f"/login?{urlencode({'next': wanted})}"
