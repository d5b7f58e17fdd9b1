"""The form that starts a fine-tune job."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from backend.web.deps import SignedIn
from backend.web.pages.rendering import render_page

router = APIRouter()


@router.get("/train")
def show_train_form(request: Request, user: SignedIn) -> Response:
    """Show the page; its script fetches the data."""
    return render_page(request, "train/new.html", user)
