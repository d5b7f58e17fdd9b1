"""The administrator's page: nodes, everybody's jobs, and users."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from backend.web.deps import Administrator
from backend.web.pages.rendering import render_page

router = APIRouter()


@router.get("/admin")
def show_admin(request: Request, user: Administrator) -> Response:
    """Show the page; its script fetches and changes the data."""
    return render_page(request, "admin/detail.html", user)
