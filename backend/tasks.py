"""The housekeeper's Celery tasks and their timetable; each is a shell around a service."""

from __future__ import annotations

from typing import Any

from backend import queue
from backend.database import transaction
from backend.services import catalogue, datasets, dispatch, pruning, retention, spaces

celery = queue.get_celery()


@celery.task(name="tuneforge.dispatch")
def dispatch_jobs() -> None:
    """Bring queued jobs to free devices."""
    with transaction() as session:
        dispatch.dispatch(session)


@celery.task(name="tuneforge.reap")
def reap_jobs() -> None:
    """Take back what nobody claimed and what was lost."""
    with transaction() as session:
        dispatch.reap(session)


@celery.task(name="tuneforge.discover")
def discover_catalogue() -> None:
    """Enter models and datasets that appeared in the home."""
    with transaction() as session:
        catalogue.discover(session)


@celery.task(name="tuneforge.prune")
def prune_rows() -> None:
    """Drop rows that have served their time."""
    with transaction() as session:
        pruning.prune(session)


@celery.task(name="tuneforge.sweep")
def sweep_files() -> None:
    """Remove uploads that expired, and files that belong to nothing any more."""
    with transaction() as session:
        spaces.sweep_uploads(session)
        datasets.sweep(session)


@celery.task(name="tuneforge.retain")
def drop_old_checkpoints() -> None:
    """Remove checkpoints that succeeded jobs keep beyond their limit."""
    with transaction() as session:
        retention.drop_old_checkpoints(session)


def _every(seconds: float, task: str) -> dict[str, Any]:
    # A beat that finds the queue blocked expires instead of piling up.
    return {"task": task, "schedule": seconds, "options": {"expires": seconds * 3}}


celery.conf.beat_schedule = {
    "dispatch": _every(2.0, "tuneforge.dispatch"),
    "reap": _every(5.0, "tuneforge.reap"),
    "discover": _every(3.0, "tuneforge.discover"),
    "prune": _every(3600.0, "tuneforge.prune"),
    "sweep": _every(600.0, "tuneforge.sweep"),
    "retain": _every(3600.0, "tuneforge.retain"),
}
