"""All of one's jobs, with filters and what can be done to them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from backend.web.deps import SignedIn
from backend.web.pages.rendering import render_page

router = APIRouter()


@router.get("/jobs")
def show_job_centre(request: Request, user: SignedIn) -> Response:
    """Show the page; its script fetches the data."""
    return render_page(request, "jobs/list.html", user)
