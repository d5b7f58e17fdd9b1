"""Processes: a run's environment and command, marks, killing all of an attempt and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend.domain.protocol import AttemptKey, TrackingPlan
from tests.worker.conftest import wait_until
from tests.worker.test_workspace import build_order
from worker import process
from worker.marks import (
    end_orphans,
    kill_attempt,
    list_attempt_processes,
    parse_mark,
    read_mark,
    read_own_mark,
)
from worker.workspace import Workspace

NODE_ENVIRONMENT = {
    "PATH": "/bin",
    "LC_ALL": "C.UTF-8",
    "NCCL_DEBUG": "INFO",
    "TUNEFORGE_NODE_TOKEN": "secret",
    "DATABASE_URL": "secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "SWANLAB_API_KEY": "the administrator's own",
    "CUDA_VISIBLE_DEVICES": "7",
    "PYTHONPATH": "/somewhere",
}


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """An attempt's folder."""
    found = Workspace(tmp_path, AttemptKey(job_id="job12345", attempt=1))
    found.private.mkdir(parents=True)
    return found


def test_a_run_gets_no_secret_and_its_own_devices(place: Workspace) -> None:
    order = build_order(device_kind="h100-80g", devices=["GPU-a", "GPU-b"])
    environment = process.build_environment(order, place, NODE_ENVIRONMENT, 4)
    assert "secret" not in environment.values()
    assert "PYTHONPATH" not in environment
    assert "SWANLAB_API_KEY" not in environment
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert environment["TUNEFORGE_ATTEMPT"] == "job12345.1"
    assert environment["NCCL_DEBUG"] == "INFO"
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert int(environment["OMP_NUM_THREADS"]) >= 1


def test_a_cpu_run_sees_no_gpu_and_a_tracked_one_its_key(place: Workspace) -> None:
    plan = TrackingPlan(mode="cloud", api_key="the-key", host="https://swanlab.example")
    environment = process.build_environment(build_order(tracking=plan), place, NODE_ENVIRONMENT, 1)
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert environment["SWANLAB_API_KEY"] == "the-key"
    assert environment["TUNEFORGE_TRACKING"] == "cloud"
    assert environment["SWANLAB_RUN_ID"] == "job12345"


def test_several_devices_are_several_processes() -> None:
    assert process.build_command(build_order(), ())[1:] == ["-m", "worker.entry", "train.yaml"]
    command = process.build_command(build_order(devices=["cpu-0", "cpu-1"]), ())
    assert command[command.index("--nproc-per-node") + 1] == "2"
    assert command[-3:] == ["-m", "worker.entry", "train.yaml"]
    assert process.build_command(build_order(), ("fake", "trainer")) == ["fake", "trainer", "train.yaml"]


def launch(place: Workspace, script: str, fence_seconds: float = 60.0) -> None:
    """Start a shell script as a run."""
    environment = {"PATH": os.environ["PATH"], "TUNEFORGE_ATTEMPT": "job12345.1"}
    process.launch(place, ["sh", "-c", script], environment, fence_seconds)


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", -9), ("true", 0)])
def test_the_wrapper_keeps_the_exit_code(place: Workspace, script: str, code: int) -> None:
    launch(place, f"echo hello; echo bad >&2; {script}")
    wait_until(lambda: place.read_exit_code() is not None, 10)
    assert place.read_exit_code() == code
    assert place.log.read_text() == "hello\nbad\n"
    wait_until(lambda: not process.is_running(place), 5)
    record = process.read_record(place)
    assert record is not None
    assert not record.child.is_alive


def test_a_program_that_is_not_there_says_so(place: Workspace) -> None:
    process.launch(place, ["/no/such/program"], {"TUNEFORGE_ATTEMPT": "job12345.1"}, 60)
    wait_until(lambda: place.read_exit_code() is not None, 10)
    assert place.read_exit_code() == 127
    assert "/no/such/program cannot be started" in place.log.read_text()


def test_an_attempt_is_launched_once_at_a_time(place: Workspace) -> None:
    launch(place, "sleep 60")
    assert process.is_running(place)
    with pytest.raises(OSError, match="temporarily unavailable"):
        launch(place, "sleep 60")
    assert kill_attempt("job12345.1") == []
    wait_until(lambda: place.read_exit_code() == -9, 10)


def test_a_run_inherits_nothing_but_its_log(place: Workspace) -> None:
    with (place.home / "held").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        launch(place, "ls -l /proc/self/fd")
    wait_until(lambda: place.read_exit_code() is not None, 10)
    assert str(place.home / "held") not in place.log.read_text()
    assert str(place.private) not in place.log.read_text()


@pytest.fixture
def marked() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes of attempts 1 and 11 of a job and of nobody, each in a session of its own."""
    marks = ["job12345.1", "job12345.1", "job12345.11", None]
    started = []
    for mark in marks:
        environment = {"PATH": os.environ["PATH"]} | ({"TUNEFORGE_ATTEMPT": mark} if mark else {})
        started.append(subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True))
    wait_until(lambda: len(list_attempt_processes("job12345.1")) == 2, 5)
    yield started
    for each in started:
        each.kill()
        each.wait()


def test_all_of_an_attempt_is_killed_and_nothing_else(marked: list[subprocess.Popen[bytes]]) -> None:
    assert kill_attempt("job12345.1") == []
    assert [each.poll() for each in marked] == [-9, -9, None, None]


def test_orphans_are_ended_only_where_they_work(tmp_path: Path) -> None:
    """Of an unknown attempt, of a known one, and of another platform's home."""
    here, elsewhere = tmp_path / "jobs" / "a", tmp_path / "other" / "jobs" / "a"
    started = []
    for folder, mark in ((here, "unknown1.1"), (here, "known123.1"), (elsewhere, "unknown1.2")):
        folder.mkdir(parents=True, exist_ok=True)
        environment = {"PATH": os.environ["PATH"], "TUNEFORGE_ATTEMPT": mark}
        started.append(subprocess.Popen(["sleep", "60"], env=environment, cwd=folder))
    wait_until(lambda: list_attempt_processes("unknown1.2"), 5)
    assert end_orphans(tmp_path / "jobs", {"known123.1"}) == {"unknown1.1"}
    assert [each.poll() for each in started] == [-9, None, None]
    for each in started:
        each.kill()
        each.wait()


def test_a_process_is_known_by_more_than_its_pid() -> None:
    own = read_own_mark()
    assert own.is_alive
    assert parse_mark(own.to_json()) == own
    assert not replace(own, start_ticks=own.start_ticks - 1).is_alive
    assert not replace(own, boot_id="another boot").is_alive
    assert parse_mark({"pid": "x"}) is None
    assert parse_mark(None) is None
    assert read_mark(2**30) is None


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    mark = read_mark(child.pid)
    assert mark is not None
    wait_until(lambda: not mark.is_alive, 10)
    assert Path(f"/proc/{child.pid}").exists()
    child.wait()


def test_the_fence_counts_from_the_last_contact(place: Workspace) -> None:
    assert not process.is_fenced(place, 0.5), "no contact was ever noted: there is nothing to count from"
    process.note_contact(place)
    assert not process.is_fenced(place, 0.5)
    time.sleep(0.8)
    assert process.is_fenced(place, 0.5)
    process.note_contact(place)
    assert not process.is_fenced(place, 0.5)
    (place.attempts / "2").mkdir()
    assert process.is_fenced(place, 600)


@pytest.mark.parametrize(
    ("changes", "threads"),
    [
        ({"device_kind": "h100-80g", "config_yaml": "preprocessing_num_workers: 4\n"}, 4),
        ({"device_kind": "h100-80g", "config_yaml": "preprocessing_num_workers: 99\n"}, 1),
        ({"device_kind": "h100-80g", "config_yaml": "preprocessing_num_workers: null\n"}, 16),
        ({"device_kind": "cpu", "config_yaml": "preprocessing_num_workers: 4\n"}, 16),
    ],
)
def test_processes_that_prepare_data_share_the_cores(
    changes: dict[str, str], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "count_cpus", lambda: 32)
    assert process.choose_threads(build_order(**changes), 2) == threads
