"""How long an attempt spent in each phase, kept on disk so that a new supervisor goes on counting."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

from backend.domain.protocol import Phase
from worker.checkpoints import read_json
from worker.workspace import replace_text


class PhaseClock:
    """Counts seconds by phase; the phase begins as `preparing`, or where an earlier supervisor left it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seconds: dict[str, float] = {}
        self.phase = Phase.PREPARING
        self._since = time.time()
        found = read_json(file)
        if isinstance(found, dict):
            with suppress(KeyError, TypeError, ValueError):
                self.phase, self._since = Phase(found["phase"]), float(found["since"])
                self._seconds = {str(Phase(name)): float(value) for name, value in found["seconds"].items()}

    def enter(self, phase: Phase, at: float | None = None) -> None:
        """The attempt is in `phase` from now on, or since `at` (Unix seconds) if it is seen late."""
        if phase is self.phase:
            return
        self._count(time.time() if at is None else at)
        self.phase = phase
        self._keep()

    def close(self) -> dict[str, float]:
        """Return the seconds spent in each phase."""
        self._count(time.time())
        return {name: round(seconds, 3) for name, seconds in self._seconds.items()}

    def _count(self, until: float) -> None:
        until = max(self._since, min(until, time.time()))
        self._seconds[self.phase] = self._seconds.get(self.phase, 0.0) + until - self._since
        self._since = until

    def _keep(self) -> None:
        with suppress(OSError):
            content = {"phase": self.phase, "since": self._since, "seconds": self._seconds}
            replace_text(self._file, json.dumps(content))
