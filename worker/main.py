"""`tuneforge-node node`: registers this machine, beats, hears the doorbell, and has attempts supervised.

Ending a node, and what becomes of the jobs that run on it:

- SIGTERM or SIGINT: each run saves a checkpoint, its attempt ends as `node_stopped` and goes back to the queue;
  the node leaves within 120 s. So a machine is taken out of use.
- SIGQUIT or SIGHUP: the node leaves at once and its runs go on, under their supervisors. So it is restarted or
  upgraded: `kill -QUIT`, then start it again (systemd: `KillMode=process`, `KillSignal=SIGQUIT`).
- SIGKILL, a crash: as SIGQUIT. The next node of this name adopts whatever has lost its supervisor.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from backend.domain.protocol import AttemptKey, Device, Welcome
from worker.api import BackendClient, Refused, retry_while_away
from worker.beat import HeartbeatThread
from worker.device_readings import write_devices
from worker.doorbell import Doorbell
from worker.gpus import DeviceInventory
from worker.marks import end_orphans
from worker.roster import Roster
from worker.settings import SettingsError, WorkerSettings, read_settings
from worker.starter import Starter
from worker.versions import read_versions

STOP_SECONDS = 115.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `tuneforge-node`; return the exit code."""
    parser = argparse.ArgumentParser(prog="tuneforge-node", description="A GPU machine of Tuneforge.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    node = commands.add_parser("node", help="run jobs on this machine's GPUs, until told to stop")
    measure = commands.add_parser("calibrate", help="measure this machine, for estimates that fit it")
    measure.add_argument(
        "--while-busy", action="store_true", help="although jobs run here and are measured along"
    )
    for command in (node, measure):
        command.add_argument("--server", help="the platform's address (TUNEFORGE_SERVER_URL)")
        command.add_argument(
            "--token", help="the token by which nodes are let in; better in TUNEFORGE_NODE_TOKEN"
        )
        command.add_argument("--name", help="this node's name, unique on the platform (TUNEFORGE_NODE_NAME)")
    options = parser.parse_args(arguments)
    given = {
        "TUNEFORGE_SERVER_URL": options.server,
        "TUNEFORGE_NODE_TOKEN": options.token,
        "TUNEFORGE_NODE_NAME": options.name,
    }
    try:
        settings = read_settings(dict(os.environ) | {name: value for name, value in given.items() if value})
        if options.command == "calibrate":
            # It needs torch, which a node does not.
            from worker.calibration import calibrate

            inventory = DeviceInventory(settings.cpu_slots, os.environ.get("CUDA_VISIBLE_DEVICES"))
            return calibrate(settings, inventory, while_busy=options.while_busy)
        return Node(settings).run()
    except SettingsError as error:
        print(f"tuneforge-node: {error}", file=sys.stderr)
        return 2


class Node:
    """This machine's node process."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._signal: int | None = None
        self._demonstration: subprocess.Popen[bytes] | None = None
        self._inventory = DeviceInventory(settings.cpu_slots, os.environ.get("CUDA_VISIBLE_DEVICES"))
        self._starter = Starter(settings)
        self._roster = Roster(settings.run_folder)

    def run(self) -> int:
        """Serve until a signal; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, self._note_signal)
        self._settings.run_folder.mkdir(parents=True, exist_ok=True)
        lock = take_node_lock(self._settings)
        self._starter.open()
        self._take_over()
        if self._settings.with_demonstration:
            self._demonstration = start_demonstration(self._settings)
        try:
            welcome = self._register(BackendClient(self._settings.server_url, self._settings.node_token))
            if welcome is not None:
                self._serve(welcome)
        finally:
            self._starter.close()
            if self._demonstration is not None and self._demonstration.poll() is None:
                self._demonstration.terminate()
            lock.close()
        return 0

    def _take_over(self) -> None:
        """Adopt what the last node left running, even before the backend answers; end what nobody knows of."""
        for entry in self._roster.list_entries():
            if entry.supervisor is None:
                self._starter.start_supervisor(entry.key)
        # Nodes of other names may run on this machine too.
        rosters = self._settings.run_folder.parent.glob("*/*")
        for mark in end_orphans(self._settings.home / "jobs", {file.name for file in rosters}):
            _say(f"ended processes of {mark}, which nobody supervised")

    def _note_signal(self, number: int, _frame: object) -> None:
        # A first SIGTERM may be followed by a SIGQUIT of one who does not want to wait.
        self._signal = number

    def _register(self, client: BackendClient) -> Welcome | None:
        """Register, waiting for the backend for as long as it takes; None when told to stop meanwhile."""
        devices = self._inventory.list_devices()
        write_devices(self._settings.run_folder, devices)
        while self._signal is None:
            try:
                return retry_while_away(
                    lambda: self._introduce(client, devices),
                    lambda: self._signal is not None,
                    _say,
                    longest_pause_seconds=2.0,
                )
            except Refused as error:
                _say(f"the backend refused this node: {error}; again in 10 s")
                self._sleep(10.0)
            except Exception as error:
                if self._signal is None:
                    _say(f"registering failed: {error}")
                    self._sleep(2.0)
        return None

    def _introduce(self, client: BackendClient, devices: list[Device]) -> Welcome:
        settings = self._settings
        return client.register(settings.node_name, devices, read_versions(), settings.address)

    def _serve(self, welcome: Welcome) -> None:
        _say(f"registered as {self._settings.node_name} at {self._settings.server_url}")
        client = BackendClient(self._settings.server_url, self._settings.node_token)
        beat = HeartbeatThread(
            self._settings,
            client,
            self._inventory,
            self._starter.start_supervisor,
            lambda: self._introduce(client, self._inventory.list_devices()),
            welcome.heartbeat_seconds,
        )
        beat.open()

        def start(key: AttemptKey) -> None:
            if not beat.is_stopping:
                self._starter.start_supervisor(key)

        Doorbell(welcome.redis_url, welcome.queue, self._settings.node_name, start).open()
        while self._signal is None:
            self._sleep(1.0)
            if self._demonstration is not None:
                self._demonstration.poll()  # once it has ended, it is not left as a zombie
        if self._signal in (signal.SIGTERM, signal.SIGINT):
            beat.announce_leave()
            self._stop_jobs()

    def _sleep(self, seconds: float) -> None:
        """Sleep; a signal cuts it short."""
        end = time.monotonic() + seconds
        while self._signal is None and time.monotonic() < end:
            time.sleep(0.05)

    def _stop_jobs(self) -> None:
        """Have every supervisor save, end and report its run; wait for them for a bounded time."""
        end = time.monotonic() + STOP_SECONDS
        told_at = 0.0
        while time.monotonic() < end and self._signal != signal.SIGQUIT:
            entries = self._roster.list_entries()
            if not entries:
                return
            # Said again, as a supervisor that has only just been started may not listen yet.
            if time.monotonic() - told_at > 1.0:
                told_at = time.monotonic()
                for entry in entries:
                    if entry.supervisor is None:
                        self._starter.start_supervisor(entry.key)
                    else:
                        with suppress(ProcessLookupError):
                            os.kill(entry.supervisor.pid, signal.SIGTERM)
            time.sleep(0.1)
        _say("some attempts did not end in time; the next node goes on with them")


def take_node_lock(settings: WorkerSettings) -> IO[str]:
    """Hold the node's name on this home, waiting a little for a node that is just leaving."""
    lock = (settings.run_folder / ".lock").open("w")
    for _ in range(100):
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        time.sleep(0.1)
    raise SettingsError(
        f"A node named {settings.node_name} already runs on this home; give this one another TUNEFORGE_NODE_NAME."
    )


def start_demonstration(settings: WorkerSettings) -> subprocess.Popen[bytes]:
    """Make the demonstration's model and data beside our work, if the home lacks them or has older ones.

    `python -m worker.demonstration` decides that itself from TUNEFORGE_HOME, exits 0 when all is there, writes
    each `tuneforge.json` last and whole, and may run twice at once. It has low priority and no token of ours.
    """
    settings.log_folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "TUNEFORGE_NODE_TOKEN"}
    with (settings.log_folder / "demonstration.log").open("ab") as log:
        return subprocess.Popen(
            ["nice", "-n", "10", sys.executable, "-P", "-m", "worker.demonstration"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment | {"TUNEFORGE_HOME": str(settings.home)},
        )


def _say(text: str) -> None:
    print(f"node: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
