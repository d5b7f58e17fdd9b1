"""One real job over two nodes of this machine: trains, stops at a step, goes on, and ends whole when a part dies."""

from __future__ import annotations

import signal
from collections.abc import Callable

import psutil
import pytest

from backend import storage
from backend.database import transaction
from backend.services import shares
from backend.services.nodes import find_name
from backend.tables.job import Job
from tests.factories import read_job
from tests.worker.conftest import (
    Node,
    ask_to_stop,
    describe_job,
    list_job_processes,
    resume,
    run_to_end,
    run_until,
    wait_until,
)
from tests.worker.test_real_runs import (
    made_model,
    read_logged_steps,
    read_uninterrupted_losses,
    submit_real,
)
from worker.checkpoints import is_whole
from worker.marks import ATTEMPT_MARK

__all__ = ["made_model", "submit_real"]  # fixtures

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

LOOPBACK = {"TUNEFORGE_CPU_SLOTS": "1", "TUNEFORGE_NODE_ADDRESS": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
STEPS = 300


def list_marks() -> set[str]:
    """Return the marks of all living processes of attempts: one for each node."""
    return {process.environ()[ATTEMPT_MARK] for process in list_job_processes()}


def list_shares(job_id: str) -> list[tuple[int, int]]:
    """Return (attempt, node rank) of what is held on further nodes."""
    with transaction() as session:
        held = shares.list_held(session)
        return [(share.attempt, share.node_rank) for share in held if share.job_id == job_id]


def kill_part(node: Node, mark: str) -> None:
    """Kill a node with its supervisor and all that runs there, as when a machine loses its power."""
    victims = [process for process in list_job_processes() if process.environ().get(ATTEMPT_MARK) == mark]
    supervisors = node.list_supervisors()
    node.end(signal.SIGKILL)
    for process in [*(psutil.Process(pid) for pid in supervisors), *victims]:
        process.kill()


def test_a_job_over_two_nodes_stops_and_goes_on_as_on_one(
    start_node: Callable[..., Node], submit_real: Callable[..., str]
) -> None:
    """The curve of a job over two nodes, stopped and resumed, is that of two processes of one node."""
    narrow = [start_node(name, real=True, **LOOPBACK) for name in ("node-1", "node-2")]
    job_id = submit_real(max_steps=STEPS, gpu_count=2, max_nodes=2)
    run_until(job_id, lambda job: job.step >= 5, 200)
    assert list_marks() == {f"{job_id}.1", f"{job_id}.1.1"}
    ask_to_stop(job_id)
    job = run_to_end(job_id, 100)
    stopped_at = job.checkpoint_step
    assert (job.status, job.end_reason) == ("cancelled", "user_cancelled"), describe_job(job_id)
    assert stopped_at is not None
    assert 5 <= stopped_at == job.step < STEPS
    folder = storage.get_attempt_folder(job_id, 1)
    assert is_whole(folder / "output" / f"checkpoint-{stopped_at}")
    assert read_logged_steps(job_id, 1) == list(range(1, stopped_at + 1))
    assert "Running training" in (folder / "job.log").read_text()
    assert (folder / "nodes" / "1" / "job.log").stat().st_size > 0
    wait_until(lambda: not list_shares(job_id), 60, "the second node's devices to be given back")
    assert list_job_processes() == []

    resume(job_id)
    job = run_to_end(job_id, 200)
    assert (job.status, job.attempt, job.step) == ("succeeded", 2, STEPS), describe_job(job_id)
    assert read_logged_steps(job_id, 2) == list(range(stopped_at + 1, STEPS + 1))
    for node in narrow:
        node.end(signal.SIGTERM)

    start_node("node-3", real=True, TUNEFORGE_CPU_SLOTS="2")
    on_one = run_to_end(submit_real(max_steps=STEPS, gpu_count=2), 200)
    assert on_one.status == "succeeded", describe_job(on_one.id)
    over_two, whole = read_uninterrupted_losses(job_id), read_uninterrupted_losses(on_one.id)
    assert over_two.keys() == whole.keys() == set(range(1, STEPS + 1))
    assert over_two == pytest.approx(whole, rel=1e-4)


def test_a_lost_node_ends_the_whole_attempt_which_goes_on_from_its_checkpoint(
    start_node: Callable[..., Node], submit_real: Callable[..., str]
) -> None:
    nodes = {name: start_node(name, real=True, **LOOPBACK) for name in ("node-1", "node-2")}
    job_id = submit_real(max_steps=200, gpu_count=2, max_nodes=2, save_steps=10)
    job = run_until(job_id, lambda job: job.step >= 25, 200)
    further = find_further_node(job, nodes)
    kill_part(further, f"{job_id}.1.1")
    job = run_until(job_id, lambda job: job.attempt == 2, 100)
    assert job.faults == 1
    wait_until(lambda: f"{job_id}.1" not in list_marks(), 30, "rank 0 to be ended too")

    further.start()
    job = run_to_end(job_id, 200)
    assert (job.status, job.attempt, job.step) == ("succeeded", 2, 200), describe_job(job_id)
    first = read_logged_steps(job_id, 2)[0]
    assert first > 20, "it went on from a checkpoint"
    assert sorted(read_uninterrupted_losses(job_id)) == list(range(1, 201))


def find_further_node(job: Job, nodes: dict[str, Node]) -> Node:
    """Return the node of rank 1."""
    with transaction() as session:
        (share,) = shares.list_present(session, read_job(job.id))
        return nodes[find_name(session, share.node_id) or ""]
