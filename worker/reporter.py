"""What a supervisor owes the backend: points not yet taken, when to report next, and whether its lease holds."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any

from backend.domain.pace import spread_pause
from backend.domain.protocol import AttemptKey, FinalReport, LaunchOrder, MetricPoint, Reply, Report, Want
from worker.api import Away, BackendClient, Refused, retry_while_away
from worker.process import note_contact
from worker.workspace import Workspace

MAX_POINTS = 2000
_LEAST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 60.0
_PAUSES_PER_FENCE = 3
_AWAY_PAUSE_SECONDS = 1.0
_CONTACT_EVERY_SECONDS = 5.0
_LOST = frozenset({404, 409})


class LeaseLost(Exception):
    """The attempt is no longer ours: its run has to end, and nothing more is said about it."""


class Reporter:
    """Reports on one attempt; while the backend is away, points are kept and sent later."""

    def __init__(self, client: BackendClient, workspace: Workspace, order: LaunchOrder) -> None:
        self._client = client
        self._workspace = workspace
        self._key = AttemptKey(job_id=order.job_id, attempt=order.attempt, node_rank=order.node_rank)
        self._lease = order.lease_token
        self._pending: list[MetricPoint] = []
        self._pause = _AWAY_PAUSE_SECONDS
        # A run must not come to its fence because its supervisor was told to be silent.
        self._longest_pause = min(_LONGEST_PAUSE_SECONDS, order.fence_seconds / _PAUSES_PER_FENCE)
        self._due_at = 0.0
        self._contact_noted_at = 0.0
        self._said = ""
        self.last_reply: Reply | None = None

    def add_points(self, points: list[MetricPoint]) -> None:
        """Keep points until the backend has taken them."""
        self._pending += points

    @property
    def is_due(self) -> bool:
        """Whether it is time for a report."""
        return time.monotonic() >= self._due_at

    def report(self, facts: dict[str, Any]) -> Want | None:
        """Send a report; return what the backend wants, None when it is away. Raises LeaseLost."""
        points = self._pending[:MAX_POINTS]
        try:
            reply = self._client.report(self._key, self._lease, Report(**facts, points=points))
        except Away as error:
            self._say(f"the backend is away ({error}); the run goes on")
            # As seldom as reports were asked for: all come back at once when the backend does.
            self._due_at = time.monotonic() + max(_AWAY_PAUSE_SECONDS, self._choose_pause())
            return None
        except Refused as error:
            self._take_refusal(error, len(points))
            return None
        self._said = ""
        self.last_reply = reply
        del self._pending[: len(points)]
        self._note_contact()
        self._pause = min(max(reply.report_in_seconds, _LEAST_PAUSE_SECONDS), self._longest_pause)
        self._due_at = time.monotonic() + (0.0 if self._pending else self._choose_pause())
        return reply.want

    def finish(self, facts: dict[str, Any], ending: dict[str, Any], is_hopeless: Callable[[], bool]) -> None:
        """Send what is left and the last word, for as long as it takes; raises LeaseLost, or Away when hopeless."""
        while len(self._pending) > MAX_POINTS:
            if self.report(facts) is None:
                if is_hopeless():
                    raise Away("the backend did not take the last points")
                time.sleep(_AWAY_PAUSE_SECONDS)
        message = FinalReport(**facts, **ending, points=self._pending)
        try:
            retry_while_away(
                lambda: self._client.finish(self._key, self._lease, message), is_hopeless, self._say
            )
        except Refused as error:
            raise LeaseLost(str(error)) from error

    def _take_refusal(self, error: Refused, sent: int) -> None:
        if error.status in _LOST:
            raise LeaseLost(str(error)) from error
        # A message the backend cannot read is our fault, and sending it again would not help.
        self._say(f"a report was refused ({error})")
        del self._pending[:sent]
        self._due_at = time.monotonic() + _AWAY_PAUSE_SECONDS

    def _choose_pause(self) -> float:
        return spread_pause(self._pause, random.random())

    def _note_contact(self) -> None:
        now = time.monotonic()
        if now - self._contact_noted_at >= _CONTACT_EVERY_SECONDS:
            note_contact(self._workspace)
            self._contact_noted_at = now

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            print(f"supervisor: {text}", file=sys.stderr, flush=True)
