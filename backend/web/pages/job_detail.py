"""One job: what it is, how it goes, and what it made."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from backend.services import jobs
from backend.web.deps import DatabaseSession, SignedIn
from backend.web.pages.rendering import render_page

router = APIRouter()


@router.get("/jobs/{job_id}")
def show_job(job_id: str, request: Request, user: SignedIn, session: DatabaseSession) -> Response:
    """Show the page of a job that the asker may see; its script fetches the data and follows it."""
    job = jobs.get_job(session, user, job_id)
    return render_page(request, "jobs/detail.html", user, job=job)
