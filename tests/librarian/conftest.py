"""The real librarian on this test process's database and home, and a real web process that may be killed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import find_free_port
from tests.factories import PIXEL, Person

BUSY = ("importing", "checking")
SECONDS = 120.0


class Librarian:
    """A librarian process that can be killed with all its children, and started again."""

    def __init__(self, folder: Path, imports: Path) -> None:
        self.log, self.imports = folder / "librarian.log", imports
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backend.cli", "librarian"],
                env=os.environ | {"TUNEFORGE_IMPORT_ROOTS": str(self.imports)},
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def list_children(self) -> list[psutil.Process]:
        """Return the processes of chores."""
        assert self.process is not None
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.Error:
            return []

    def kill(self) -> list[psutil.Process]:
        """Kill it, and only it, at once; return what its children were."""
        assert self.process is not None
        children = self.list_children()
        self.process.kill()
        self.process.wait()
        return children

    def stop(self) -> int:
        """Stop it as a launcher does; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture(scope="session")
def imports(session_folder: Path) -> Path:
    """The folder of this machine from which people may import."""
    folder = session_folder / "imports"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def librarian(migrated_database: str, session_folder: Path, imports: Path) -> Iterator[Librarian]:
    """One librarian for a module's tests, and no longer: it would take the chores of others."""
    running = Librarian(session_folder, imports)
    running.start()
    yield running
    assert running.process is not None
    os.killpg(running.process.pid, signal.SIGKILL)
    running.process.wait()


class WebProcess:
    """The real web process, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.port, self.log = find_free_port(), folder / "web.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backend.cli", "web"],
                env=os.environ | {"TUNEFORGE_PORT": str(self.port)},
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + SECONDS
        while True:
            try:
                if httpx.get(f"{self.url}/healthz", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                assert time.monotonic() < end, self.log.read_text()[-3000:]
                time.sleep(0.1)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """Kill it at once."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def web_process(migrated_database: str, tmp_path: Path) -> Iterator[WebProcess]:
    """A web process that the test may kill."""
    running = WebProcess(tmp_path)
    running.start()
    yield running
    running.kill()


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return what `condition` gives once it gives something."""
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.05)
    return found


def wait_for_dataset(person: Person, dataset_id: str) -> dict[str, Any]:
    """Return a dataset once nothing is under way with it."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = person.get(f"/datasets/{dataset_id}").json()
        return None if found["status"] in BUSY else found

    result: dict[str, Any] = wait_until(look, "the dataset")
    return result


def send_file(person: Person, name: str, content: bytes, **form: str) -> dict[str, Any]:
    """Make a dataset of a file sent as a form, and return it once it is checked."""
    answer = person.post("/datasets", files={"file": (name, content)}, data=form)
    assert answer.status_code == 201, answer.text
    assert answer.json()["status"] == "importing"
    return wait_for_dataset(person, answer.json()["id"])


def make_zip(files: dict[str, bytes]) -> bytes:
    """Return a zip of these files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return packed.getvalue()


def make_talks(rows: int = 4) -> dict[str, bytes]:
    """Return the files of a dataset laid out as QA_from_CoVLA_zh is."""
    talks = [
        {
            "messages": [
                {"role": "user", "content": f"<image>图 {number} 里有什么？"},
                {"role": "assistant", "content": f"第 {number} 辆车。"},
            ],
            "images": [f"images/{number}.png"],
        }
        for number in range(rows)
    ]
    info = {
        "QA": {
            "file_name": "QA.json", "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
        }
    }  # fmt: skip
    files = {f"QA/images/{number}.png": PIXEL for number in range(rows)}
    return files | {
        "QA/QA.json": json.dumps(talks, ensure_ascii=False).encode(),
        "QA/dataset_info.json": json.dumps(info).encode(),
    }
