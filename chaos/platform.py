"""The real platform in a home of its own: `tuneforge up` with its node, more nodes beside it, and ways to break it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import redis

from backend.launch import children, state
from backend.launch.children import Child
from backend.launch.places import choose_port
from backend.settings import read_or_make_secret
from chaos.rooms import Room
from chaos.trainer import STAND_IN
from chaos.wire import Wire

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "password of a passing platform"  # noqa: S105 (of a platform that lives for minutes on loopback)
LOCAL_NODE = "local"
SLOTS_PER_NODE = 4


class GaveUp(Exception):
    """Something that has to happen did not, within a generous time."""


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a condition; GaveUp after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise GaveUp(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


class Platform:
    """All parts, each in processes of its own; `folder` holds the home, the ledger lies beside it."""

    def __init__(self, folder: Path, room: Room | None) -> None:
        self.folder, self.room = folder, room
        self.home = folder / "home"
        self.records = folder / "records"
        self.records.mkdir()
        self.port = choose_port(folder / "port")
        self.url = f"http://127.0.0.1:{self.port}"
        self.fence_seconds = 300
        self.nodes: dict[str, Child] = {}
        self.wire = Wire(self.port)
        self._launcher: subprocess.Popen[bytes] | None = None

    # -- starting and stopping -----------------------------------------------------------------------------

    def start(self, other_nodes: int) -> None:
        """Start `tuneforge up`, and nodes beside its own; the last one reaches it by a wire that can be cut."""
        self._launch()
        for number in range(2, other_nodes + 2):
            name = f"node-{number}"
            by_wire = number == other_nodes + 1
            self.nodes[name] = self._build_node(name, self.wire.url if by_wire else self.url)
            self.nodes[name].start()

    def restart(self, fence_seconds: int) -> None:
        """Stop `tuneforge up` as by Ctrl-C and start it with another fence; the other nodes live on."""
        self.fence_seconds = fence_seconds
        self._end_launcher()
        self._launch()

    def stop(self) -> None:
        """Stop all, jobs included; nothing is left running."""
        for name in self.nodes:
            self.kill_machine(name)
        self._end_launcher()
        children.kill_processes(children.list_marked(self.home))
        self.wire.close()

    def _launch(self) -> None:
        with (self.folder / "up.log").open("ab") as log:
            self._launcher = subprocess.Popen(
                [*self._entrance, sys.executable, "-P", "-m", "backend.cli", "up"],
                env=self._build_environment(),
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._is_ready, 180, "the platform's start")

    def _is_ready(self) -> bool:
        assert self._launcher is not None
        if self._launcher.poll() is not None:
            raise GaveUp(f"tuneforge up ended:\n{(self.folder / 'up.log').read_text()[-3000:]}")
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False

    def _end_launcher(self) -> None:
        if self._launcher is None or self._launcher.poll() is not None:
            return
        self._launcher.send_signal(signal.SIGINT)
        self._launcher.wait(200)

    @property
    def _entrance(self) -> list[str]:
        return [] if self.room is None else self.room.entrance

    def _build_environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TUNEFORGE_", "SWANLAB_")) and name not in ("DATABASE_URL", "REDIS_URL")
        }
        trainer = [sys.executable, "-P", "-m", "chaos.trainer", str(self.records)]
        return kept | {
            "TUNEFORGE_HOME": str(self.home),
            "TUNEFORGE_PORT": str(self.port),
            "TUNEFORGE_ADMIN_PASSWORD": PASSWORD,
            "TUNEFORGE_FENCE_SECONDS": str(self.fence_seconds),
            "TUNEFORGE_NODE_NAME": LOCAL_NODE,
            "TUNEFORGE_CPU_SLOTS": str(SLOTS_PER_NODE),
            "TUNEFORGE_DEMONSTRATION": "off",
            "TUNEFORGE_RUN_COMMAND": shlex.join(trainer),
            "OMP_NUM_THREADS": "1",
        }

    def _build_node(self, name: str, server_url: str) -> Child:
        environment = self._build_environment() | {
            "TUNEFORGE_SERVER_URL": server_url,
            "TUNEFORGE_NODE_TOKEN": read_or_make_secret("node_token", self.home),
            "TUNEFORGE_NODE_NAME": name,
        }
        del environment["TUNEFORGE_ADMIN_PASSWORD"]
        command = [*self._entrance, sys.executable, "-P", "-m", "worker.main", "node"]
        return Child(name, command, environment, self.folder / f"{name}.log", self.home)

    # -- what runs -----------------------------------------------------------------------------------------

    def find(self, name: str) -> psutil.Process:
        """Return a part of `tuneforge up` by its name: postgres, redis, web, housekeeper, librarian, node."""
        found: list[psutil.Process] = []

        def look() -> bool:
            current = state.find_state(self.home)
            process = (
                None
                if current is None
                else current.children[name].find()
                if name in current.children
                else None
            )
            found[:] = [] if process is None else [process]
            return bool(found)

        wait_until(look, 60, f"{name} to run")
        return found[0]

    def find_node(self, name: str) -> psutil.Process:
        """Return a node's process."""
        if name == LOCAL_NODE:
            return self.find("node")
        process = self.nodes[name].process
        assert process is not None
        return psutil.Process(process.pid)

    def list_supervisors(self, node: str) -> list[int]:
        """Return the pids of a node's living supervisors, by the node's own roster."""
        return [pid for _, pid in self._list_roster(node)]

    def _list_roster(self, node: str) -> Iterator[tuple[str, int]]:
        for file in (self.home / "run" / "nodes" / node).glob("*.*"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                yield file.name, int(json.loads(file.read_text())["pid"])

    # -- breaking it ---------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """Kill -9 a part of `tuneforge up`, which starts it again."""
        process = self.find(name)
        process.kill()
        wait_until(lambda: not _is_alive(process), 30, f"the end of {name}")
        self.find(name)

    def keep_web_away(self, seconds: float) -> None:
        """Kill -9 the web process, and hold back who would start it again."""
        assert self._launcher is not None
        self._launcher.send_signal(signal.SIGSTOP)
        try:
            self.find("web").kill()
            time.sleep(seconds)
        finally:
            self._launcher.send_signal(signal.SIGCONT)

    def kill_node(self, name: str) -> None:
        """Kill -9 a node's process alone; its supervisors live on."""
        process = self.find_node(name)
        process.kill()
        wait_until(lambda: not _is_alive(process), 30, f"the end of {name}")

    def kill_machine(self, name: str) -> None:
        """Kill -9 all that a machine runs at once: node, warm parent, supervisors, wrappers, runs."""
        attempts = {mark for mark, _ in self._list_roster(name)}
        while doomed := [each for each in psutil.process_iter() if self._is_of(each, name, attempts)]:
            children.kill_processes(doomed)

    def _is_of(self, process: psutil.Process, node: str, attempts: set[str]) -> bool:
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            is_run = environment.get("TUNEFORGE_ATTEMPT") in attempts
            # The launcher and what it starts have the name of its node too, but the password as well.
            is_node = (
                environment.get("TUNEFORGE_HOME") == str(self.home)
                and environment.get("TUNEFORGE_NODE_NAME") == node
                and "TUNEFORGE_ADMIN_PASSWORD" not in environment
            )
            return (is_run or is_node) and process.status() != psutil.STATUS_ZOMBIE
        return False

    def start_node(self, name: str) -> None:
        """Start a node again, as a machine that comes back does; `tuneforge up` starts its own by itself."""
        if name != LOCAL_NODE:
            wait_until(lambda: self.nodes[name].poll() is not None, 150, f"the end of {name}")
            self.nodes[name].start()

    def flush_redis(self) -> None:
        """FLUSHALL."""
        password = read_or_make_secret("redis_password", self.home)
        port = int((self.home / "run" / "redis.port").read_text())
        with redis.Redis(port=port, password=password) as client:
            client.flushall()

    def see(self, path: Path) -> Path:
        """Return where we find a file that the platform knows as `path`."""
        return path if self.room is None else self.room.see(path)


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def lay_out_home(home: Path) -> None:
    """Put a real tiny model, a stand-in for one, and a dataset into a new home."""
    home.mkdir(mode=0o711)
    real = home / "models" / "tiny"
    script = ROOT / "tests" / "swanlab" / "make_tiny_model.py"
    subprocess.run([sys.executable, str(script), str(real)], check=True, cwd=ROOT, capture_output=True)
    facts = {"source": "local", "architecture": "Qwen2ForCausalLM", "parameters": 30_000, "template": "qwen"}
    (real / "tuneforge.json").write_text(json.dumps(facts | {"modalities": ["text"]}))
    stand_in = home / "models" / STAND_IN
    stand_in.mkdir()
    for name in ("config.json", "tuneforge.json"):
        shutil.copy(real / name, stand_in / name)
    data = home / "datasets" / "counting"
    data.mkdir(parents=True)
    rows = [{"instruction": f"count {n}", "input": "", "output": f"{n} {n + 1} {n + 2}"} for n in range(64)]
    (data / "rows.json").write_text(json.dumps(rows))
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    described = {
        "format": "alpaca",
        "modalities": ["text"],
        "example_count": len(rows),
        "file_name": "rows.json",
        "dataset_info": {"file_name": "rows.json", "columns": columns},
    }
    (data / "tuneforge.json").write_text(json.dumps(described))
