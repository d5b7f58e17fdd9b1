"""Datasets: uploading, importing and choosing them, and one of them with what was found in it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from backend.services import catalogue
from backend.web.deps import DatabaseSession, SignedIn
from backend.web.pages.rendering import render_page

router = APIRouter()


@router.get("/data")
def show_datasets(request: Request, user: SignedIn) -> Response:
    """Show the page; its script fetches the data."""
    return render_page(request, "data/list.html", user)


@router.get("/data/{dataset_id}")
def show_dataset(dataset_id: str, request: Request, user: SignedIn, session: DatabaseSession) -> Response:
    """Show the page of a dataset that the asker may see; its script fetches the rest."""
    dataset = catalogue.get_dataset(session, user, dataset_id)
    return render_page(request, "data/detail.html", user, dataset=dataset)
