"""A person's own files, and where the results of jobs lie."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from backend.web.deps import SignedIn
from backend.web.pages.rendering import render_page

router = APIRouter()


@router.get("/files")
def show_files(request: Request, user: SignedIn) -> Response:
    """Show the page; its script fetches the data."""
    return render_page(request, "files/list.html", user)
