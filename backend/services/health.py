"""Whether the parts that jobs need are there."""

from __future__ import annotations

import os
from collections.abc import Callable

import redis
from sqlalchemy import func, select, text

from backend.database import transaction
from backend.domain import demonstration
from backend.domain.job import JobStatus
from backend.services import nodes, uptime
from backend.settings import get_settings
from backend.tables.base import utc_now
from backend.tables.base_model import BaseModel
from backend.tables.dataset import Dataset
from backend.tables.job import Job


def check_readiness() -> dict[str, str]:
    """Return for each part `ok`, or what is wrong with it."""
    checks: dict[str, Callable[[], None]] = {
        "database": _check_database,
        "redis": _check_redis,
        "home": _check_home,
        "node": _check_node,
        "librarian": _check_librarian,
    }
    if get_settings().demonstration == "on":
        checks["demonstration"] = _check_demonstration
    return {name: _run(check) for name, check in checks.items()}


def _run(check: Callable[[], None]) -> str:
    try:
        check()
    except Exception as error:
        # Strangers read this: the kind of fault is told, no address and no path.
        return str(error) if isinstance(error, NotReady) else type(error).__name__
    return "ok"


class NotReady(Exception):
    """A part is not there yet; the text may be shown to anybody."""


def _check_database() -> None:
    with transaction() as session:
        session.execute(text("SELECT 1"))


def _check_redis() -> None:
    url = get_settings().redis_url
    if not url:
        raise NotReady("not configured")
    with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
        client.ping()


def _check_home() -> None:
    if not os.access(get_settings().home, os.R_OK | os.W_OK | os.X_OK):
        raise NotReady("not writable")


def _check_node() -> None:
    with transaction() as session:
        if not nodes.count_online(session):
            raise NotReady("no node is online")


def _check_librarian() -> None:
    with transaction() as session:
        if not uptime.is_alive(session, uptime.LIBRARIAN, utc_now()):
            raise NotReady("silent; imports, checks and downloads wait")


def _check_demonstration() -> None:
    wanted = {demonstration.TRAIN_DATASET_NAME, demonstration.HELDOUT_DATASET_NAME}
    with transaction() as session:
        model = session.get(BaseModel, demonstration.MODEL_NAME)
        ready = select(Dataset.id).where(Dataset.id.in_(wanted), Dataset.status == "ready")
        if model is None or model.status != "ready" or set(session.scalars(ready)) != wanted:
            raise NotReady("being made")


def render_metrics() -> str:
    """Return counts in Prometheus' text form."""
    with transaction() as session:
        counts = {status.value: 0 for status in JobStatus}
        for status, count in session.execute(select(Job.status, func.count()).group_by(Job.status)):
            counts[status] = count
        devices = nodes.count_present_devices(session)
        online = nodes.count_online(session)
    lines = ["# HELP tuneforge_jobs Jobs by status.", "# TYPE tuneforge_jobs gauge"]
    lines += [f'tuneforge_jobs{{status="{status}"}} {count}' for status, count in sorted(counts.items())]
    lines += ["# HELP tuneforge_nodes_online Nodes that are online.", "# TYPE tuneforge_nodes_online gauge"]
    lines += [f"tuneforge_nodes_online {online}"]
    lines += ["# HELP tuneforge_gpus Devices by kind and state.", "# TYPE tuneforge_gpus gauge"]
    for kind, counted in sorted(devices.items()):
        label = kind.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'tuneforge_gpus{{kind="{label}",state="free"}} {counted["free"]}')
        lines.append(f'tuneforge_gpus{{kind="{label}",state="busy"}} {counted["total"] - counted["free"]}')
    return "\n".join(lines) + "\n"
