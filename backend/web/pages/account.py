"""The user centre: profile, language, password, SwanLab access and API tokens."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from backend.services import users
from backend.web.deps import SignedIn
from backend.web.pages.rendering import render_page

router = APIRouter()


@router.get("/account")
def show_account(request: Request, user: SignedIn) -> Response:
    """Show the page; its script fetches and changes the data."""
    shortest = users.MIN_PASSWORD_LENGTH
    return render_page(request, "account/detail.html", user, min_password_length=shortest)
