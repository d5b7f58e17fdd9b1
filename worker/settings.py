"""What a node is told by its environment."""

from __future__ import annotations

import os
import re
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.:-]{0,252}$")
_SOMEWHERE_ELSE = "192.0.2.1"
"""An address for documentation (RFC 5737), which no machine has."""
_NODE_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$")


class SettingsError(Exception):
    """A setting is missing or wrong; the text tells the administrator what to do."""


@dataclass(frozen=True)
class WorkerSettings:
    """One node's settings.

    `run_command` stands in for LLaMA-Factory's entry, started with `train.yaml` as its last argument; tests put
    a short trainer there. `cpu_slots` counts only on a machine without GPUs. `with_demonstration` makes the
    demonstration at the node's start. `address` is where other nodes reach this one.
    """

    home: Path
    server_url: str
    node_name: str
    node_token: str = field(repr=False)
    run_command: tuple[str, ...] = ()
    cpu_slots: int = 1
    with_demonstration: bool = True
    address: str = "127.0.0.1"

    @property
    def run_folder(self) -> Path:
        """Folder of what runs on this node now: one file per attempt, and the devices' last readings."""
        return self.home / "run" / "nodes" / self.node_name

    @property
    def log_folder(self) -> Path:
        """Folder of the node's own logs."""
        return self.home / "log"


def read_settings(environment: Mapping[str, str] | None = None) -> WorkerSettings:
    """Return the settings of `environment`, this process's by default; raises SettingsError."""
    given = os.environ if environment is None else environment
    home = given.get("TUNEFORGE_HOME", "")
    server_url = given.get("TUNEFORGE_SERVER_URL", "").rstrip("/")
    token = given.get("TUNEFORGE_NODE_TOKEN", "")
    name = given.get("TUNEFORGE_NODE_NAME", "") or socket.gethostname().lower()
    if not home:
        raise SettingsError("Set TUNEFORGE_HOME to the platform's folder, the one the backend uses.")
    if not server_url.startswith(("http://", "https://")):
        raise SettingsError("Set TUNEFORGE_SERVER_URL (or --server) to the platform's address, http://…")
    if not token:
        raise SettingsError("Set TUNEFORGE_NODE_TOKEN (or --token) to the token by which nodes are let in.")
    if not _NODE_NAME.match(name):
        raise SettingsError(f"The node's name {name!r} must be small letters, digits, '.', '_' and '-'.")
    return WorkerSettings(
        home=Path(home).expanduser().absolute(),
        server_url=server_url,
        node_name=name,
        node_token=token,
        run_command=tuple(shlex.split(given.get("TUNEFORGE_RUN_COMMAND", ""))),
        cpu_slots=_read_count(given.get("TUNEFORGE_CPU_SLOTS", "1")),
        with_demonstration=given.get("TUNEFORGE_DEMONSTRATION", "on") != "off",
        address=_read_address(given.get("TUNEFORGE_NODE_ADDRESS", ""), server_url),
    )


def _read_address(given: str, server_url: str) -> str:
    """Return where other nodes reach this one: as set, else the address from which the backend is reached.

    Where the backend is on this very machine, that is loopback and no use to others: then the address of the way
    out of this machine, if there is one.
    """
    if given:
        if not _ADDRESS.match(given):
            raise SettingsError(f"TUNEFORGE_NODE_ADDRESS {given!r} is neither a host name nor an IP address.")
        return given
    found = _find_source_address(urlsplit(server_url).hostname or "127.0.0.1")
    if not found.startswith("127."):
        return found
    return _find_source_address(_SOMEWHERE_ELSE)


def _find_source_address(target: str) -> str:
    """Return this machine's address on the way to `target`; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def _read_count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise SettingsError("TUNEFORGE_CPU_SLOTS is a number from 1 to 64.")
    return int(text)
