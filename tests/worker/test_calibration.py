"""The real probes on this machine, told to the real backend by the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from backend.database import transaction
from backend.services import nodes
from backend.settings import get_settings
from tests.worker.conftest import Door, Node, list_job_processes, run_until, wait_until


def calibrate(door: Door, home: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command for the node `node-1`."""
    environment = os.environ | {
        "TUNEFORGE_HOME": str(home),
        "TUNEFORGE_SERVER_URL": door.url,
        "TUNEFORGE_NODE_TOKEN": get_settings().node_token,
        "TUNEFORGE_NODE_NAME": "node-1",
    }
    command = [sys.executable, "-P", "-m", "worker.main", "calibrate", *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def is_registered() -> bool:
    """Whether the node is known to the backend."""
    with transaction() as session:
        return any(node.name == "node-1" for node in nodes.list_nodes(session))


def test_this_machine_is_measured_and_the_backend_knows(
    start_node: Callable[..., Node], door: Door, tuneforge_home: Path
) -> None:
    early = calibrate(door, tuneforge_home)
    assert early.returncode == 1
    assert "start it once" in early.stderr
    start_node()
    wait_until(is_registered)
    answer = calibrate(door, tuneforge_home)
    assert answer.returncode == 0, answer.stderr
    assert "GB/s" in answer.stdout
    with transaction() as session:
        probe = nodes.find_probe(session, "cpu")
    assert probe is not None
    assert 1e9 < probe.flops_per_second < 1e13
    assert 1e8 < probe.bytes_per_second < 1e13


def test_a_node_at_work_is_not_measured_unless_one_insists(
    start_node: Callable[..., Node], submit_fake: Callable[..., str], door: Door, tuneforge_home: Path
) -> None:
    start_node()
    job_id = submit_fake(steps=10_000)
    run_until(job_id, lambda job: job.step > 0)
    assert list_job_processes()
    refused = calibrate(door, tuneforge_home)
    assert (refused.returncode, "Drain it first" in refused.stderr) == (1, True)
