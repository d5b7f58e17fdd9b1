"""Starting a run: clean environment, output to a file, and a wrapper that keeps its exit code.

The wrapper is a small fork of the supervisor in a session of its own. It outlives the supervisor, writes the
run's exit code to a file, and ends the run when the backend has not been heard for `fence_seconds` or a later
attempt shows in the home: so even a run that nobody supervises never trains beside its successor.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from backend.domain.protocol import LaunchOrder
from worker.checkpoints import read_json
from worker.gathering import MeetingPoint
from worker.gpus import CPU_KIND, count_cpus
from worker.marks import (
    ATTEMPT_MARK,
    ProcessMark,
    build_attempt_mark,
    kill_attempt,
    parse_mark,
    read_mark,
    read_own_mark,
)
from worker.tracking import build_tracking_environment
from worker.workspace import Workspace, replace_text

_INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
)
_INHERITED_BEGINNINGS = ("LC_", "CUDA_", "NVIDIA_", "NCCL_", "GLOO_", "FI_", "UCX_")
_FENCE_CHECK_SECONDS = 2.0
_NUMBER_ROOM = 16


@dataclass(frozen=True)
class RunRecord:
    """What is known of a started run: its wrapper, itself, and when it was launched (Unix seconds)."""

    wrapper: ProcessMark
    child: ProcessMark
    launched_at: float

    @property
    def is_alive(self) -> bool:
        """Whether the run or its wrapper, which is about to write its exit code, still lives."""
        return self.wrapper.is_alive or self.child.is_alive


def build_environment(
    order: LaunchOrder, workspace: Workspace, inherited: Mapping[str, str], devices_on_node: int
) -> dict[str, str]:
    """Return a run's whole environment: nothing of the platform's secrets, and SwanLab's only as planned."""
    environment = {
        name: value
        for name, value in inherited.items()
        if name in _INHERITED or name.startswith(_INHERITED_BEGINNINGS)
    }
    cache = workspace.own / "cache"
    environment.setdefault("OMP_NUM_THREADS", str(choose_threads(order, devices_on_node)))
    if order.device_kind == CPU_KIND:
        # Threads that wait by spinning take the cores from the very thread they wait for, once anything else runs here.
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environment |= {
        ATTEMPT_MARK: build_attempt_mark(order.job_id, order.attempt, order.node_rank),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "" if order.device_kind == CPU_KIND else ",".join(order.devices),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": str(cache / "huggingface"),
        # Its font list takes seconds to make and is everybody's.
        "MPLCONFIGDIR": str(workspace.home / "cache" / "matplotlib"),
        "PYTHONUNBUFFERED": "1",
        # The working folder holds other people's files: nothing in it may pose as a module.
        "PYTHONSAFEPATH": "1",
        "TUNEFORGE_TRACKING": order.tracking.mode,
    }
    if order.device_kind != CPU_KIND and len(order.devices) > 1:
        # As LLaMA-Factory's own launcher sets them for several GPUs.
        environment |= {
            "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
            "TORCH_NCCL_AVOID_RECORD_STREAMS": "1",
        }
    plan = order.tracking
    if plan.mode == "cloud" and plan.api_key:
        # All attempts of a job are one run in the cloud, so that its curve goes on there after a resume.
        environment |= {"SWANLAB_RUN_ID": order.job_id, "SWANLAB_RESUME": "allow"}
    return environment | build_tracking_environment(
        plan.mode, plan.api_key, plan.host, plan.web_host, plan.workspace
    )


def choose_threads(order: LaunchOrder, devices_on_node: int) -> int:
    """Return how many threads each process of a run may compute with, so that they share the processor's cores.

    Pictures are prepared by `preprocessing_num_workers` processes at once, each with so many threads: with a
    core's share for each device and no regard to them, twelve processes of 16 threads on 32 cores were no faster
    than one (640 pictures in 32 s).
    """
    threads = count_cpus() // max(1, devices_on_node)
    if order.device_kind != CPU_KIND:
        workers = yaml.safe_load(order.config_yaml).get("preprocessing_num_workers")
        threads //= workers if isinstance(workers, int) and workers > 0 else 1
    return max(1, threads)


def build_gathering_environment(order: LaunchOrder, meeting: MeetingPoint) -> dict[str, str]:
    """Return the variables by which LLaMA-Factory's own launcher is told of several nodes."""
    return {
        "FORCE_TORCHRUN": "1",
        "NNODES": str(order.node_count),
        "NODE_RANK": str(order.node_rank),
        "NPROC_PER_NODE": str(max(1, len(order.devices))),
        "MASTER_ADDR": meeting.address,
        "MASTER_PORT": str(meeting.port),
    }


def build_command(
    order: LaunchOrder, run_command: tuple[str, ...], meeting: MeetingPoint | None = None
) -> list[str]:
    """Return the command of a run: the entry itself, or under torchrun for more than one process.

    torchrun is given what LLaMA-Factory's own launcher gives it, but our entry. (The launcher starts its own
    file, splits paths at spaces, and imports torch only to choose a port.) On several nodes the processes gather
    at the `meeting` point, which is a port of rank 0.
    """
    if run_command:
        return [*run_command, "train.yaml"]
    entry = [sys.executable, "-m", "worker.entry", "train.yaml"]
    processes = max(1, len(order.devices))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(order.node_count)]
    torchrun += ["--max-restarts", "0"]
    if meeting is not None:
        torchrun += ["--node-rank", str(order.node_rank), "--master-addr", meeting.address]
        torchrun += ["--master-port", str(meeting.port), "--nproc-per-node", str(processes)]
        return [*torchrun, "-m", *entry[2:]]
    if processes == 1:
        return entry
    # A free port is chosen by the rendezvous itself, so that two runs never meet.
    torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--rdzv-id", f"{order.job_id}"]
    return [*torchrun, "--nproc-per-node", str(processes), "-m", *entry[2:]]


def launch(
    workspace: Workspace, command: list[str], environment: Mapping[str, str], fence_seconds: float
) -> None:
    """Start the run under its wrapper; `read_record` tells of it once this has returned."""
    private = workspace.private
    (workspace.home / "cache" / "matplotlib").mkdir(parents=True, exist_ok=True)
    note_contact(workspace)
    # Held by the wrapper for as long as the run lives; the supervisor's own copy closes with this function.
    with (private / "run.lock").open("w") as run_lock:
        fcntl.flock(run_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The exit code is written into room that is taken now, as the disk may be full then.
        (private / "exit_code.draft").write_text(" " * _NUMBER_ROOM)
        told, tell = os.pipe()
        if os.fork() == 0:
            try:
                os.close(told)
                _wrap(workspace, command, environment, fence_seconds, run_lock.fileno(), tell)
            finally:
                os._exit(70)
        os.close(tell)
        with os.fdopen(told, "rb") as answer:
            if answer.read(1) != b"+":
                raise OSError("the run's wrapper did not start")


def is_running(workspace: Workspace) -> bool:
    """Whether the attempt's wrapper lives; also true before it has written its record."""
    try:
        with (workspace.private / "run.lock").open("r") as run_lock:
            fcntl.flock(run_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def read_record(workspace: Workspace) -> RunRecord | None:
    """Return what the wrapper wrote of the run, or None when none was started."""
    found: Any = read_json(workspace.private / "process.json")
    if not isinstance(found, dict):
        return None
    wrapper, child = parse_mark(found.get("wrapper")), parse_mark(found.get("child"))
    if wrapper is None or child is None:
        return None
    return RunRecord(wrapper, child, float(found.get("launched_at", 0.0)))


# -- the fence ---------------------------------------------------------------------------------------------


def note_contact(workspace: Workspace) -> None:
    """Note that the backend has just answered (seconds since boot: one clock for all processes here).

    Written in place: on a full disk a new file could not be, and a healthy run would end at its fence.
    """
    text = f"{time.clock_gettime(time.CLOCK_BOOTTIME):.1f}".ljust(_NUMBER_ROOM).encode()
    with contextlib.suppress(OSError):
        file = os.open(workspace.private / "contact", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(file, text, 0)
        finally:
            os.close(file)


def is_fenced(workspace: Workspace, fence_seconds: float) -> bool:
    """Whether the run has to end: the backend was silent for too long, or a later attempt has begun."""
    if workspace.has_successor():
        return True
    try:
        contact = float((workspace.private / "contact").read_text())
    except (OSError, ValueError):
        return False
    return time.clock_gettime(time.CLOCK_BOOTTIME) - contact > fence_seconds


# -- the wrapper -------------------------------------------------------------------------------------------


def _wrap(
    workspace: Workspace,
    command: list[str],
    environment: Mapping[str, str],
    fence_seconds: float,
    run_lock: int,
    tell: int,
) -> NoReturn:
    """Start the run, wait for its end, and write its exit code. Never returns."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    _close_all_but({0, 1, 2, run_lock, tell})
    launched_at = time.time()
    # Both ends close by themselves when a program is started: the end of the pipe says that the run has its mark.
    marked, unmarked = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become_run(workspace, command, environment, unmarked)
    os.close(unmarked)
    os.read(marked, 1)
    os.close(marked)
    child = read_mark(pid)
    assert child is not None  # it cannot have been reaped
    record = {"wrapper": read_own_mark().to_json(), "child": child.to_json(), "launched_at": launched_at}
    try:
        replace_text(workspace.private / "process.json", json.dumps(record), 0o600)
    except OSError:  # a run that nobody could find again must not be
        os.kill(pid, signal.SIGKILL)
        raise
    os.write(tell, b"+")
    os.close(tell)
    code = _wait(workspace, pid, environment[ATTEMPT_MARK], fence_seconds)
    draft = workspace.private / "exit_code.draft"
    with draft.open("r+") as file:
        file.write(f"{code}".ljust(_NUMBER_ROOM))
    draft.replace(workspace.exit_code_file)
    os._exit(0)


def _wait(workspace: Workspace, pid: int, mark: str, fence_seconds: float) -> int:
    while True:
        signal.sigtimedwait({signal.SIGCHLD}, _FENCE_CHECK_SECONDS)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)
        if is_fenced(workspace, fence_seconds):
            kill_attempt(mark)


def _become_run(
    workspace: Workspace, command: list[str], environment: Mapping[str, str], unmarked: int
) -> NoReturn:
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        os.chdir(workspace.folder)
        log = os.open(workspace.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, unmarked)
        os.closerange(unmarked + 1, 4096)
        os.execvpe(command[0], command, dict(environment))  # noqa: S606 (there is none to need)
    except OSError as error:
        os.write(2, f"[tuneforge] {command[0]} cannot be started: {error}\n".encode())
    finally:
        os._exit(127)


def _close_all_but(kept: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))
