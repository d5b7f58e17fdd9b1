"""The doorbell: Celery messages rung after commit; losing or doubling one does no harm."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy import event
from sqlalchemy.orm import Session

from backend.settings import get_settings

HOUSEKEEPER_QUEUE = "housekeeper"

logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def get_celery() -> Celery:
    """Return the Celery application: JSON only, early acknowledgement, no results kept."""
    app = Celery("tuneforge", broker=get_settings().redis_url)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_default_queue=HOUSEKEEPER_QUEUE,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        # None means for ever here; the default gives up while Redis is away for long.
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        # A ring is worth no wait: beat and heartbeats heal what is lost. Without the retries of 0 a request
        # would stand still for 6 s while Redis is away; consumers go by broker_connection_max_retries.
        task_publish_retry=False,
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2, "max_retries": 0},
        timezone="UTC",
    )
    return app


def get_node_queue(node_name: str) -> str:
    """Return the name of a node's queue."""
    return f"node.{node_name}"


def ring_dispatch(session: Session) -> None:
    """Have the housekeeper plan assignments once this transaction is committed."""
    _ring_after_commit(session, "tuneforge.dispatch", [], HOUSEKEEPER_QUEUE)


def ring_node(session: Session, node_name: str, job_id: str, attempt: int, node_rank: int = 0) -> None:
    """Have a node start its part of an attempt once this transaction is committed."""
    args = [job_id, attempt, node_rank] if node_rank else [job_id, attempt]
    _ring_after_commit(session, "worker.start_attempt", args, get_node_queue(node_name))


def _ring_after_commit(session: Session, name: str, args: list[Any], queue: str) -> None:
    rings: list[tuple[str, list[Any], str]] = session.info.setdefault("rings", [])
    if not rings:
        event.listen(session, "after_commit", _send_rings, once=True)
        event.listen(session, "after_rollback", _forget_rings, once=True)
    ring = (name, args, queue)
    if ring not in rings:
        rings.append(ring)


def _send_rings(session: Session) -> None:
    for name, args, queue in session.info.pop("rings", []):
        try:
            get_celery().send_task(name, args=args, queue=queue, ignore_result=True)
        except (OperationalError, OSError) as error:
            logger.warning("The doorbell %s is away (%s); it will be rung again.", name, error)


def _forget_rings(session: Session) -> None:
    session.info.pop("rings", None)
