"""A real browser on the real web process, over rows that services wrote: no GPU, no LLaMA-Factory."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from backend import storage
from backend.app import build_app
from backend.database import transaction
from backend.domain.protocol import LaunchOrder, Report
from backend.services import catalogue, reports
from tests.conftest import CHROMIUM_FLAGS, find_free_port
from tests.factories import PASSWORD, make_dataset, make_model, make_user, register_node, start_job


class WebServer:
    """The web process on a port of its own, which can go away and come back."""

    def __init__(self) -> None:
        self.port = find_free_port()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        config = uvicorn.Config(build_app(), host="127.0.0.1", port=self.port, log_level="warning")
        config.timeout_graceful_shutdown = 3
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 30
        while not self._server.started:
            assert time.monotonic() < deadline, "the web process did not start"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it with all its connections."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(20)
            assert not self._thread.is_alive(), "the web process did not end"
            self._server = None


@pytest.fixture
def web_server(database: None) -> Iterator[WebServer]:
    """A running web process over an empty database."""
    server = WebServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """A real Chromium, closed with the module: Playwright's loop would run on below whatever tests come next."""
    expect.set_options(timeout=15_000)  # a busy machine draws slowly
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@dataclass
class Reader:
    """Somebody signed in with a browser."""

    id: str
    page: Page
    context: BrowserContext
    url: str

    def open(self, path: str) -> Page:
        """Go to a page of the platform."""
        self.page.goto(self.url + path)
        return self.page


@pytest.fixture
def reader(browser: Browser, web_server: WebServer) -> Iterator[Reader]:
    """Somebody who reads English and is signed in; any error of a page's script fails the test."""
    user_id = make_user("reader")
    context = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{web_server.url}/login")
    page.fill("input[name=username]", "reader")
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(f"{web_server.url}/")
    yield Reader(user_id, page, context, web_server.url)
    context.close()
    assert faults == []


@pytest.fixture
def catalogue_rows(tuneforge_home: Path, database: None) -> None:
    """A model, a dataset with pictures and one that only a text model could not use."""
    make_model(tuneforge_home)
    make_dataset(tuneforge_home)
    make_dataset(tuneforge_home, "films", modalities=["text", "video"])
    register_node()
    with transaction() as session:
        catalogue.discover(session)


class Run:
    """A running job that the test speaks for, as its supervisor would."""

    def __init__(self, order: LaunchOrder) -> None:
        self.order = order
        self.job_id = order.job_id

    def write(self, text: str) -> None:
        """Append to the log."""
        path = storage.get_attempt_folder(self.job_id, self.order.attempt) / "job.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            log.write(text.encode())

    def report(self, step: int, total: int, *, phase: str = "training", **values: float) -> None:
        """Say how far it is, with a metric point when it has `values`."""
        points = [{"step": step, "at": datetime.now(UTC), **values}] if values else []
        message = {"phase": phase, "step": step, "total_steps": total, "points": points, "log_bytes": 0}
        with transaction() as session:
            report = Report.model_validate(message)
            reports.report(session, self.job_id, self.order.attempt, self.order.lease_token, report)


RESOURCES = {"gpu_kind": "cpu", "gpu_count": 1}


@pytest.fixture
def start_run(reader: Reader) -> Callable[..., Run]:
    """Starts a job of the reader's: `start_run(name="…", spec={…})`."""
    register_node()

    def start(spec: dict[str, Any] | None = None, **changes: Any) -> Run:
        return Run(start_job(reader.id, spec={"resources": RESOURCES} | (spec or {}), **changes))

    return start


def write_predictions(run: Run, rows: list[tuple[str, str, str]]) -> None:
    """Leave an evaluation's answers: prompt, answer and label of each row."""
    lines = [
        json.dumps({"prompt": prompt, "predict": answer, "label": label}, ensure_ascii=False)
        for prompt, answer, label in rows
    ]
    folder = storage.get_attempt_folder(run.job_id, run.order.attempt) / "output"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "generated_predictions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def wait_until(check: Callable[[], Any], what: str, seconds: float = 20) -> None:
    """Wait until `check()` holds."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
