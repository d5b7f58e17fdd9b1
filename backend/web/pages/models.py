"""Base models: those one may use, presets to fetch, and LLaMA-Factory's catalogue."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from backend.web.deps import SignedIn
from backend.web.pages.rendering import render_page

router = APIRouter()


@router.get("/models")
def show_models(request: Request, user: SignedIn) -> Response:
    """Show the page; its script fetches the data."""
    return render_page(request, "models/list.html", user)
