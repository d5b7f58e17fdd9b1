"""The fake hub as a running process, with a model and a dataset on it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import find_free_port
from tests.factories import Person

ROOT = Path(__file__).resolve().parents[2]
MODEL = "acme/Little-Qwen2.5-VL-3B-Instruct"
DATASET = "acme/talks"


@dataclass
class FakeHub:
    """A running fake hub."""

    url: str
    root: Path

    def break_with(self, *faults: dict[str, Any]) -> None:
        """Let these faults happen, each `times` often (once unless said); what was asked so far is forgotten."""
        body = [{"times": 1, "path": "", **fault} for fault in faults]
        httpx.post(f"{self.url}/_faults", json=body).raise_for_status()

    def list_requests(self) -> list[dict[str, Any]]:
        """Return what was asked since the last `break_with`."""
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/_requests").json()
        return found

    def count_sent(self, name: str) -> int:
        """Return how many bytes of this file went out since then."""
        return sum(one["sent"] for one in self.list_requests() if name in one["path"])

    def write(self, kind: str, repo: str, name: str, content: bytes) -> Path:
        """Put a file into a repository."""
        path = self.root / kind / repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def build_weights(elements: int, seed: int = 1) -> bytes:
    """Return a safetensors file of one bf16 tensor."""
    header = json.dumps(
        {"w": {"dtype": "BF16", "shape": [elements], "data_offsets": [0, 2 * elements]}}
    ).encode()
    return struct.pack("<Q", len(header)) + header + random.Random(seed).randbytes(2 * elements)


def fill(hub: FakeHub, elements: int = 200_000) -> None:
    """Put a model (with what must not be fetched) and a dataset on the hub."""
    config = {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl"}
    hub.write("models", MODEL, "config.json", json.dumps(config | {"vision_config": {"depth": 2}}).encode())
    hub.write("models", MODEL, "tokenizer.json", b"{}" * 9_000)
    hub.write("models", MODEL, "model.safetensors", build_weights(elements))
    hub.write("models", MODEL, "LICENSE", b"Apache License 2.0")
    hub.write("models", MODEL, "README.md", b"# Little")
    hub.write("models", MODEL, "pytorch_model.bin", b"\x80\x04pickle" * 2_000)
    hub.write("models", MODEL, "modeling_evil.py", b"raise SystemExit")
    hub.write("models", MODEL, ".gitattributes", b"*.bin filter=lfs")
    rows = [
        {"conversations": [{"from": "human", "value": f"q{n}"}, {"from": "gpt", "value": f"a{n}"}]}
        for n in range(300)
    ]
    hub.write("datasets", DATASET, "data.json", json.dumps(rows).encode())
    hub.write("datasets", DATASET, "helper.py", b"raise SystemExit")


@pytest.fixture(scope="session")
def hub_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    """The fake hub of this test process."""
    root, port = tmp_path_factory.mktemp("hub"), find_free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.fakes.hub", str(port), str(root)], cwd=ROOT)
    hub = FakeHub(f"http://127.0.0.1:{port}", root)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            hub.list_requests()
            break
        except httpx.HTTPError:
            time.sleep(0.05)
    yield hub
    process.kill()
    process.wait()


@pytest.fixture
def hub(hub_process: FakeHub, configure: Callable[[str, str], None]) -> FakeHub:
    """The fake hub, whole, with the settings pointing at it."""
    shutil.rmtree(hub_process.root)
    hub_process.root.mkdir()
    fill(hub_process)
    hub_process.break_with()
    configure("TUNEFORGE_HUGGINGFACE_ENDPOINT", hub_process.url)
    configure("TUNEFORGE_MODELSCOPE_ENDPOINT", hub_process.url)
    configure("TUNEFORGE_HUB_TIMEOUT_SECONDS", "2")
    configure("TUNEFORGE_HUB_REDIRECTS", "any")
    return hub_process


@pytest.fixture
def start_librarian(hub: FakeHub, owner: Person) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a librarian in a session of its own; all are ended after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", "backend.cli", "librarian"]
        started.append(subprocess.Popen(program, cwd=ROOT, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a librarian and the processes of its chores without a word."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(person: Person, path: str, is_there: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask for a thing or dataset until it is as the test wants it, and return it."""
    end = time.monotonic() + 120
    thing: dict[str, Any] = {}
    while time.monotonic() < end:
        thing = person.get(path).json()
        if is_there(thing):
            return thing
        time.sleep(0.1)
    raise AssertionError(f"it never came to that: {thing}")
