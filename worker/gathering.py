"""Where the processes of a job over several nodes find one another: a free port of the node of rank 0."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.checkpoints import read_json
from worker.workspace import Workspace, replace_text

FOLDER_SECONDS = 120.0
"""How long a shared folder may take to show on one node what another has written."""


@dataclass(frozen=True)
class MeetingPoint:
    """An address and a port of rank 0's node."""

    address: str
    port: int


def choose_meeting_point(workspace: Workspace, address: str) -> MeetingPoint:
    """Return this node's address with a port that is free now, and keep it for a supervisor that adopts the run."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        point = MeetingPoint(address, int(probe.getsockname()[1]))
    content = json.dumps({"address": point.address, "port": point.port})
    replace_text(workspace.private / "meeting.json", content, 0o600)
    return point


def read_meeting_point(workspace: Workspace) -> MeetingPoint | None:
    """Return the point that was chosen for this attempt, or None."""
    found = read_json(workspace.private / "meeting.json")
    try:
        return MeetingPoint(str(found["address"]), int(found["port"]))
    except (KeyError, TypeError, ValueError):
        return None


def wait_for_folder(workspace: Workspace, is_given_up: Callable[[], bool]) -> None:
    """Wait until this node sees what rank 0 laid out; OSError when it never does."""
    end = time.monotonic() + FOLDER_SECONDS
    while not (workspace.folder / "train.yaml").is_file():
        if is_given_up() or time.monotonic() > end:
            raise OSError(
                f"{workspace.folder} shows nothing of what the node of rank 0 wrote: is TUNEFORGE_HOME the same "
                "shared folder on both nodes?"
            )
        time.sleep(0.2)
