"""Child processes: logged, ended with their whole group, and never mistaken for others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from backend.launch import children, leftovers, state
from backend.launch.children import Child, ProcessMark, read_mark

_SLEEP = "print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_SLEEP}"
POLITE = f"import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); {_SLEEP}"
FAMILY = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    "print(child.pid, flush=True); child.wait()"
)

Start = Callable[..., Child]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a Python program as a child; what is left at the end is killed."""
    started: list[Child] = []

    def start_child(program: str, **environment: str) -> Child:
        log = tmp_path / "log" / f"child{len(started)}.log"
        child = Child("child", [sys.executable, "-c", program], os.environ | environment, log, tmp_path)
        child.start()
        started.append(child)
        return child

    yield start_child
    for child in started:
        child.end_group()
        assert child.process is not None
        child.process.wait(10)


def _wait_for_log(child: Child) -> str:
    end = time.monotonic() + 20
    while not child.log.read_text().endswith("\n"):
        assert time.monotonic() < end
        time.sleep(0.01)
    return child.log.read_text().strip()


def test_a_child_that_ends_when_asked_is_told_from_one_that_does_not(start: Start) -> None:
    polite, stubborn = start(POLITE), start(STUBBORN)
    _wait_for_log(polite), _wait_for_log(stubborn)
    assert polite.stop(10, lambda: False) is True
    assert polite.poll() == 0
    assert stubborn.stop(0.2, lambda: False) is False
    assert stubborn.poll() == -signal.SIGKILL


def test_a_hurried_stop_waits_for_nobody(start: Start) -> None:
    stubborn = start(STUBBORN)
    _wait_for_log(stubborn)
    began = time.monotonic()
    assert stubborn.stop(60, lambda: True) is False
    assert time.monotonic() - began < 5


def test_what_a_child_started_ends_with_it(start: Start) -> None:
    child = start(FAMILY)
    grandchild = psutil.Process(int(_wait_for_log(child)))
    child.stop(0, lambda: True)
    assert not grandchild.is_running() or psutil.wait_procs([grandchild], 5)[0]


def test_a_child_that_dies_at_once_is_started_ever_more_slowly(start: Start) -> None:
    child = start("")
    pauses = [child.plan_restart() for _ in range(7)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert child.deaths == 7
    child.started_at = time.monotonic() - 61
    assert (child.plan_restart(), child.deaths) == (1, 1)


def test_a_mark_does_not_take_a_reused_pid_or_a_zombie_for_its_process() -> None:
    process = subprocess.Popen(["/bin/sleep", "600"])
    mark = read_mark(process.pid)
    found = mark.find()
    assert found is not None
    assert found.pid == process.pid
    assert ProcessMark(process.pid, mark.started - 100).find() is None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert mark.find() is None
    process.wait()


def test_only_processes_of_this_home_are_found(start: Start, tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "home-2"
    ours = start(STUBBORN, TUNEFORGE_LAUNCHED_HOME=str(home))
    theirs = start(STUBBORN, TUNEFORGE_LAUNCHED_HOME=str(other))
    _wait_for_log(ours), _wait_for_log(theirs)
    assert [process.pid for process in children.list_marked(home)] == [ours.process.pid]  # type: ignore[union-attr]
    children.kill_processes(children.list_marked(home))
    assert children.list_marked(home) == []
    assert theirs.poll() is None


def test_what_a_killed_launcher_left_is_ended_before_the_next_start(start: Start, tmp_path: Path) -> None:
    web, stranger = start(STUBBORN), start(STUBBORN)
    _wait_for_log(web), _wait_for_log(stranger)
    assert web.process is not None
    assert stranger.process is not None
    reused = ProcessMark(stranger.process.pid, 1.0)
    (tmp_path / "run").mkdir()
    last = state.State(reused, "http://x", "ready", {"web": read_mark(web.process.pid), "node": reused})
    state.write_state(tmp_path, last)
    leftovers.clear_leftovers(tmp_path)
    assert web.process.wait(5) == -signal.SIGKILL
    assert stranger.poll() is None
    assert state.find_state(tmp_path) is None


def test_a_home_has_one_launcher(tmp_path: Path) -> None:
    assert not state.is_locked(tmp_path)
    lock = state.take_lock(tmp_path)
    with pytest.raises(state.AlreadyRunning):
        state.take_lock(tmp_path)
    assert state.is_locked(tmp_path)
    os.close(lock)
    assert not state.is_locked(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"launcher": 5}', '{"launcher": {"pid": "x", "started": 1}}']
)
def test_a_broken_note_of_the_last_launcher_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "platform.json").write_text(text)
    assert state.find_state(tmp_path) is None
    leftovers.clear_leftovers(tmp_path)


def test_the_end_of_a_log_is_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert children.read_end(log) == ""
    log.write_text("短行\n" + "x" * 3000 + "\nlast line\n")
    assert children.read_end(log) == "last line"
    log.write_text("only\n")
    assert children.read_end(log) == "only"
