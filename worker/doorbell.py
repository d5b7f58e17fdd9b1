"""The node's Celery worker: hears `worker.start_attempt` on the node's queue and has a supervisor started."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from celery import Celery
from celery.worker import WorkController
from kombu import Queue
from pydantic import ValidationError

from backend.domain.protocol import AttemptKey

_RESTART_SECONDS = 2.0


def build_celery(redis_url: str, queue: str, start: Callable[[AttemptKey], None]) -> Celery:
    """Return the Celery application of a node; its one task lasts milliseconds and may come twice."""
    app = Celery("tuneforge-node", broker=redis_url)
    app.conf.update(
        task_queues=[Queue(queue)],
        task_default_queue=queue,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        # None means for ever here; the default gives up while Redis is away for long.
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_connect_timeout": 5, "socket_keepalive": True},
        timezone="UTC",
    )

    @app.task(name="worker.start_attempt")
    def start_attempt(job_id: str, attempt: int, node_rank: int = 0) -> None:
        """Start a supervisor; the claim decides whether there is anything to do."""
        try:
            key = AttemptKey(job_id=job_id, attempt=attempt, node_rank=node_rank)
        except ValidationError as error:
            print(f"node: a ring that makes no sense: {error}", file=sys.stderr, flush=True)
            return
        start(key)

    return app


class Doorbell:
    """Listens in a thread of its own, so that the node's main thread is free for signals."""

    def __init__(
        self, redis_url: str, queue: str, node_name: str, start: Callable[[AttemptKey], None]
    ) -> None:
        self._app = build_celery(redis_url, queue, start)
        self._node_name = node_name
        self._thread = threading.Thread(target=self._listen, name="doorbell", daemon=True)

    def open(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def _listen(self) -> None:
        """Listen for ever: heartbeats tell of what is assigned too, so a silent bell only delays."""
        while True:
            try:
                worker = WorkController(
                    app=self._app,
                    hostname=f"node@{self._node_name}",
                    pool_cls="solo",
                    loglevel="WARNING",
                    without_gossip=True,
                    without_mingle=True,
                    without_heartbeat=True,
                )
                worker.start()
            except Exception as error:
                print(
                    f"node: the doorbell is out of order ({error}); again soon", file=sys.stderr, flush=True
                )
            time.sleep(_RESTART_SECONDS)
