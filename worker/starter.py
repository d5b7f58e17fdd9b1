"""The warm parent of supervisors: one thread, everything imported, and a fork for every line it is sent.

The node starts it as `python -m worker.starter` and writes to its standard input: first the node token, then
`{"job_id", "attempt"}` for each attempt to supervise. It ends with that input; its supervisors, each in a
session of its own, do not.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import IO

from pydantic import ValidationError

from backend.domain.protocol import AttemptKey
from worker.api import BackendClient
from worker.settings import WorkerSettings, read_settings
from worker.supervise import supervise_safely

_REPORT_ANSWER_SECONDS = 5.0


class Starter:
    """The node's end of the warm parent; started again should it have died."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start_supervisor(self, key: AttemptKey) -> None:
        """Have an attempt supervised; that it already is does no harm."""
        with self._lock:
            line = key.model_dump_json().encode() + b"\n"
            try:
                self._send(line)
            except OSError:
                self._process = None
                self._send(line)

    def open(self) -> None:
        """Start the warm parent now, so that the first job does not wait for it."""
        with self._lock:
            self._get_input()

    def close(self) -> None:
        """End the warm parent, not its supervisors."""
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
                self._process.wait(10)
                self._process = None

    def _send(self, line: bytes) -> None:
        pipe = self._get_input()
        pipe.write(line)
        pipe.flush()

    def _get_input(self) -> IO[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "worker.starter"],
                stdin=subprocess.PIPE,
                # A session of its own: a Ctrl-C meant for the node must not reach it.
                start_new_session=True,
                env=_build_environment(self._settings, os.environ),
            )
            assert self._process.stdin is not None
            self._process.stdin.write(self._settings.node_token.encode() + b"\n")
        assert self._process.stdin is not None
        return self._process.stdin


def _build_environment(settings: WorkerSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the warm parent's environment: the node's, but its token, which jobs could read in it."""
    environment = dict(inherited) | {
        "TUNEFORGE_HOME": str(settings.home),
        "TUNEFORGE_SERVER_URL": settings.server_url,
        "TUNEFORGE_NODE_NAME": settings.node_name,
    }
    environment["TUNEFORGE_NODE_TOKEN"] = "sent-by-pipe"  # noqa: S105 (not a secret, but the absence of one)
    return environment


def main() -> None:
    """Fork a supervisor for every attempt that is asked for, until the input ends."""
    # The node's end is for the node to decide: ours comes with the end of the input.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for supervisors
    token = sys.stdin.readline().strip()
    settings = replace(read_settings(), node_token=token)
    client = BackendClient(settings.server_url, token, answer_seconds=_REPORT_ANSWER_SECONDS)
    gc.collect()
    gc.freeze()
    while line := sys.stdin.readline():
        try:
            key = AttemptKey.model_validate(json.loads(line))
        except (ValueError, ValidationError):
            continue
        if os.fork() == 0:
            _become_supervisor(settings, client, key)


def _become_supervisor(settings: WorkerSettings, client: BackendClient, key: AttemptKey) -> None:
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        supervise_safely(settings, client, key)
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
