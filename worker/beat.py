"""The node's heartbeat: says what is here, learns what is assigned, and adopts what has lost its supervisor."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable

from backend.domain.protocol import AttemptKey, Heartbeat, HeartbeatReply
from worker.api import Away, BackendClient, Refused
from worker.device_readings import write_devices
from worker.gpus import DeviceInventory
from worker.roster import Roster
from worker.settings import WorkerSettings

_AWAY_PAUSE_SECONDS = 1.0
_ADOPTION_PAUSE_SECONDS = 10.0
"""Between two tries to adopt the same attempt, so that a supervisor that dies at once is not started at once."""


class HeartbeatThread:
    """Beats in a thread of its own until the process ends."""

    def __init__(
        self,
        settings: WorkerSettings,
        client: BackendClient,
        inventory: DeviceInventory,
        start: Callable[[AttemptKey], None],
        register: Callable[[], object],
        pause_seconds: float,
    ) -> None:
        self._settings = settings
        self._client = client
        self._inventory = inventory
        self._start = start
        self._register = register
        self._pause_seconds = pause_seconds
        self._roster = Roster(settings.run_folder)
        self._tried: dict[tuple[str, int], float] = {}
        self._said = ""
        self.is_stopping = False
        self._wake = threading.Event()
        self._announced = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def open(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def _run(self) -> None:
        while True:
            pause = self._pause_seconds
            try:
                self.beat()
                self._said = ""
            except (Away, Refused) as error:
                self._say(f"a heartbeat was not taken: {error}")
                pause = _AWAY_PAUSE_SECONDS
                if isinstance(error, Refused) and error.status == 404:
                    self._register_again()
            except Exception as error:  # a beat must never be the last
                self._say(f"a heartbeat failed: {type(error).__name__}: {error}")
            self._wake.wait(pause)
            self._wake.clear()

    def announce_leave(self, patience_seconds: float = 3.0) -> None:
        """Start nothing more, and tell the backend to assign nothing more, if it answers in time."""
        self.is_stopping = True
        self._announced.clear()
        self._wake.set()
        self._announced.wait(patience_seconds)

    def beat(self) -> None:
        """Adopt, beat once, and start what is assigned."""
        self.adopt()
        devices = self._inventory.list_devices()
        write_devices(self._settings.run_folder, devices)
        alive = [entry.key for entry in self._roster.list_entries() if entry.supervisor is not None]
        message = Heartbeat(
            name=self._settings.node_name,
            devices=devices,
            attempts=alive,
            free_bytes=shutil.disk_usage(self._settings.home).free,
            stopping=self.is_stopping,
        )
        reply: HeartbeatReply = self._client.beat(message)
        if message.stopping:
            self._announced.set()
        self._pause_seconds = reply.heartbeat_seconds
        for key in reply.assigned:
            if key not in alive and not self.is_stopping:
                self._start(key)

    def adopt(self) -> None:
        """Start supervisors for the attempts of this node that have none."""
        now = time.monotonic()
        for entry in self._roster.list_entries():
            name = (entry.key.job_id, entry.key.attempt)
            if entry.supervisor is not None:
                continue
            if now - self._tried.get(name, -_ADOPTION_PAUSE_SECONDS) >= _ADOPTION_PAUSE_SECONDS:
                self._tried[name] = now
                self._start(entry.key)

    def _register_again(self) -> None:
        try:
            self._register()
        except (Away, Refused) as error:
            self._say(f"the node could not register again: {error}")

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            print(f"node: {text}", file=sys.stderr, flush=True)
