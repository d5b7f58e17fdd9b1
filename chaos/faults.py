"""What is done to the platform: every fault of the suite, in the order of the suite."""

from __future__ import annotations

import os
import signal
import time

import psutil

from backend.launch.children import kill_processes
from chaos.client import Refused
from chaos.imports import Imports
from chaos.platform import LOCAL_NODE, wait_until
from chaos.wave import Fault, Submitted, Wave

SMALL_DISK_BYTES = 600_000
_RESTART_SECONDS = 1.5


def kill_supervisors(wave: Wave) -> None:
    """Kill -9 every supervisor of every node, twice."""
    for _ in range(2):
        nodes = [LOCAL_NODE, *wave.platform.nodes]
        pids = [pid for node in nodes for pid in wave.platform.list_supervisors(node)]
        kill_processes(psutil.Process(pid) for pid in pids if psutil.pid_exists(pid))
        time.sleep(_RESTART_SECONDS)


def kill_nodes(wave: Wave) -> None:
    """Kill -9 every worker; the platform's own is started again by it, the others after a moment."""
    for name in (LOCAL_NODE, *wave.platform.nodes):
        wave.platform.kill_node(name)
    time.sleep(_RESTART_SECONDS)
    for name in wave.platform.nodes:
        wave.platform.start_node(name)


def kill_machine(wave: Wave) -> None:
    """Kill -9 all of a machine that comes back soon after."""
    name = wave.random.choice(list(wave.platform.nodes))
    wave.platform.kill_machine(name)
    time.sleep(_RESTART_SECONDS)
    wave.platform.start_node(name)


def lose_machine_and_cut_another_off(wave: Wave) -> None:
    """Kill -9 all of a machine for good, and cut another off, whose runs live on: all must go on elsewhere."""
    gone, *_, cut_off = wave.platform.nodes
    wave.platform.wire.cut()
    wave.platform.kill_machine(gone)
    wave.wait_for_all()
    wave.platform.wire.mend()
    wave.platform.start_node(gone)
    wait_until(lambda: not wave.platform.list_supervisors(cut_off), 90, "the cut-off node to let go")


def fill_disks(wave: Wave) -> None:
    """Give some jobs a disk that their checkpoints fill; each must say so, and go on once there is room."""
    room = wave.platform.room
    assert room is not None
    wave.client.drain(True)
    try:
        victims = [wave.submit(steps=100) for _ in range(3)]
        for victim in victims:
            folder = wave.platform.home / "jobs" / victim.id
            folder.mkdir(mode=0o700)
            room.mount(folder, SMALL_DISK_BYTES)
    finally:
        wave.client.drain(False)
    for victim in victims:
        job = wave.wait_for_end(victim)
        if job["end_reason"] != "disk_full":
            wave.wrongly_told.append(
                f"{victim.id} had a full disk, but ended as {job['end_reason']}: {job['error']}"
            )
        room.make_room(wave.platform.home / "jobs" / victim.id)
        resume(wave, victim)


def stop_and_resume(wave: Wave) -> None:
    """Stop all that trains as its owner does, and resume it."""
    stopped = wave.list_training()
    for job in stopped:
        try:
            wave.client.call("POST", f"/jobs/{job.id}/stop")
        except Refused:  # it ended by itself meanwhile
            continue
    for job in stopped:
        if wave.wait_for_end(job)["status"] == "cancelled":
            resume(wave, job)


def kill_librarian(wave: Wave) -> None:
    """Kill -9 a chore's process, and then the librarian with another, while datasets come in."""
    imports = Imports(wave.client, wave.number)
    halves = [imports.send_half() for _ in range(3)]
    for one, with_librarian in zip(halves, (False, True), strict=False):
        imports.finish(one)
        librarian = wave.platform.find("librarian")
        wait_until(lambda parent=librarian: bool(parent.children()), 60, "a chore to begin")  # type: ignore[misc]
        kill_processes([*librarian.children(), *([librarian] if with_librarian else [])])
        wave.platform.find("librarian")
    imports.finish(halves[-1])
    wave.wrongly_told += imports.list_faults()


def resume(wave: Wave, job: Submitted) -> None:
    """Resume as its owner does; one that cannot be is counted as lost, as it stays where it is."""
    try:
        wave.client.call("POST", f"/jobs/{job.id}/resume")
    except Refused as error:
        wave.say(f"{job.name} cannot be resumed: {error}")


def preempt(wave: Wave) -> None:
    """Submit jobs that the running ones of a lower tier must make room for."""
    for _ in range(6):
        wave.submit(tier="express")


def stop_nodes(wave: Wave) -> None:
    """Stop nodes as an administrator does: their runs save a checkpoint and go on elsewhere."""
    names = [LOCAL_NODE, *list(wave.platform.nodes)[:1]]
    for name in names:
        os.kill(wave.platform.find_node(name).pid, signal.SIGTERM)
    for name in names:
        wave.platform.start_node(name)


def _kill(name: str) -> Fault:
    return Fault(f"kill -9 of {name}", lambda wave: wave.platform.kill(name))


def _keep_away(seconds: float) -> Fault:
    strike = lambda wave: wave.platform.keep_web_away(seconds)  # noqa: E731
    return Fault(f"the API away {seconds:.0f} s", strike, span_seconds=seconds * 0.8)


FAULTS = (
    _kill("web"),
    _kill("housekeeper"),
    Fault("kill -9 of the librarian and its chores", kill_librarian),
    Fault("kill -9 of supervisors", kill_supervisors),
    Fault("kill -9 of workers", kill_nodes),
    _kill("redis"),
    _kill("postgres"),
    Fault("FLUSHALL", lambda wave: wave.platform.flush_redis()),
    Fault("kill -9 of a whole node", kill_machine),
    _keep_away(20),
    Fault("a full disk", fill_disks, needs_room=True),
    Fault("stop and resume", stop_and_resume, is_graceful=True, span_seconds=12),
    Fault("preemption", preempt, is_graceful=True, tier="spot", span_seconds=12),
    Fault("a node stopped", stop_nodes, is_graceful=True, span_seconds=12),
    _keep_away(60),
    Fault("a node lost, one cut off", lose_machine_and_cut_another_off, span_seconds=12, fence_seconds=30),
)

SHORT = (
    "kill -9 of web",
    "kill -9 of the librarian and its chores",
    "kill -9 of supervisors",
    "kill -9 of postgres",
    "FLUSHALL",
    "kill -9 of a whole node",
    "stop and resume",
)
"""The faults of the short form, which `make test` runs."""
