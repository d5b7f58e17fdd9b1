"""The real swanboard over real logs of SwanLab's local mode, behind the gate, and in a real browser."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvicorn
from playwright.sync_api import sync_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backend.board import BoardAnswer, BoardKeeper, serve_board
from tests.conftest import CHROMIUM_FLAGS, find_free_port

ROOT = Path(__file__).resolve().parents[2]
JOB = "k3f9a1b2c3d4"


def make_attempt(root: Path, number: int, name: str, ending: str) -> Path:
    """Write one attempt's folder with the real client; return its swanlog."""
    folder = root / str(number)
    folder.mkdir(parents=True)
    script = ROOT / "tests" / "swanlab" / "make_swanlog.py"
    command = [sys.executable, str(script), name, "20", ending]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SWANLAB_")}
    environment |= {"SWANLAB_ROOT": "/nonexistent", "SWANLAB_CONFIG_DIR": "/nonexistent"}
    done = subprocess.run(command, cwd=folder, env=environment, timeout=60, check=False, capture_output=True)
    assert done.returncode == (-9 if ending == "die" else 0), done.stderr.decode()
    return folder / "swanlog"


@pytest.fixture(scope="session")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two attempts of a job: the first was killed, the second went through."""
    root = tmp_path_factory.mktemp("job") / "attempts"
    return [make_attempt(root, 1, "my-job", "die"), make_attempt(root, 2, "my-job", "finish")]


def ask(swanlogs: list[Path], *requests: tuple[str, str], **options: Any) -> list[BoardAnswer]:
    """Ask one board for several things, one after the other, and end it."""

    async def go() -> list[BoardAnswer]:
        keeper = BoardKeeper()
        try:
            return [
                await serve_board(keeper, JOB, swanlogs, method, path, **options) for method, path in requests
            ]
        finally:
            await keeper.close()

    return asyncio.run(go())


def read(answer: BoardAnswer) -> Any:
    """Return the data of an answer of swanboard's."""
    assert answer.status == 200, answer.body
    return json.loads(answer.body)["data"]


def test_each_attempt_is_an_experiment_with_its_own_values(attempts: list[Path]) -> None:
    project, first, second, values, charts, log = ask(
        attempts,
        ("GET", "api/v1/project"),
        ("GET", "api/v1/experiment/1"),
        ("GET", "api/v1/experiment/2"),
        ("GET", "api/v1/experiment/2/tag/train/loss"),
        ("GET", "api/v1/project/charts"),
        ("GET", "api/v1/experiment/2/recent_log"),
    )
    names = {item["id"]: item["name"] for item in read(project)["experiments"]}
    assert names == {1: "my-job #1", 2: "my-job #2"}
    assert read(first)["status"] == -1, "killed: it could not say so itself"
    assert read(second)["status"] == 1
    points = {point["index"]: point["data"] for point in read(values)["list"]}
    assert points == pytest.approx({step: 2.0 / step for step in range(1, 21)})
    loss = next(chart for chart in read(charts)["charts"] if chart["name"] == "train/loss")
    assert sorted(loss["source"]) == ["my-job #1", "my-job #2"]
    assert any("训练日志 line" in line for line in read(log)["logs"])


def test_an_attempt_that_may_still_run_is_shown_as_running(attempts: list[Path]) -> None:
    (running,) = ask(attempts[:1], ("GET", "api/v1/experiment/1/status"))
    assert read(running)["status"] == 0
    (ended,) = ask(attempts[:1], ("GET", "api/v1/experiment/1/status"), ended=True)
    assert read(ended)["status"] == -1


def test_what_a_run_adds_later_appears(tmp_path: Path) -> None:
    swanlog = make_attempt(tmp_path, 1, "grows", "finish")

    async def go() -> tuple[Any, Any]:
        keeper = BoardKeeper()
        try:
            before = read(await serve_board(keeper, JOB, [swanlog], "GET", "api/v1/project"))
            later = await asyncio.to_thread(make_attempt, tmp_path, 2, "grows", "finish")
            return before, read(await serve_board(keeper, JOB, [swanlog, later], "GET", "api/v1/project"))
        finally:
            await keeper.close()

    before, after = asyncio.run(go())
    assert [item["name"] for item in before["experiments"]] == ["grows"]
    assert [item["name"] for item in after["experiments"]] == ["grows #1", "grows #2"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "api/v1/media//etc/passwd", 404),
        ("GET", "api/v1/experiment/1/stop", 404),
        ("GET", "api/v1/experiment/999", 404),
        ("GET", "api/v1/experiment/1/tag/no/such", 404),
        ("PATCH", "api/v1/experiment/1", 405),
        ("DELETE", "api/v1/experiment/1", 405),
        ("DELETE", "api/v1/project", 405),
        ("POST", "", 405),
    ],
)
def test_what_reads_files_or_changes_things_does_not_exist(
    attempts: list[Path], method: str, path: str, status: int
) -> None:
    refused, still = ask(attempts, (method, path), ("GET", "api/v1/experiment/1"))
    assert refused.status == status
    assert b"root:" not in refused.body
    assert read(still)["status"] == -1


def test_a_job_without_local_logs_has_no_board(tmp_path: Path) -> None:
    (tmp_path / "swanlog").mkdir()
    for swanlogs in ([], [tmp_path / "swanlog"]):
        (answer,) = ask(swanlogs, ("GET", ""))
        assert answer.status == 404
        assert "还没有本地跟踪数据".encode() in answer.body


def test_head_has_no_body_and_headers_are_strict(attempts: list[Path]) -> None:
    page, head = ask(attempts, ("GET", ""), ("HEAD", ""))
    assert page.status == head.status == 200
    assert f'<base href="/jobs/{JOB}/board/" />'.encode() in page.body
    assert head.body == b""
    assert head.headers["X-Content-Type-Options"] == "nosniff"
    assert "server" not in {name.lower() for name in head.headers}


def test_a_log_that_leads_elsewhere_is_not_shown(tmp_path: Path) -> None:
    swanlog = make_attempt(tmp_path, 1, "hostile", "finish")
    (run_folder,) = (path for path in swanlog.iterdir() if path.name.startswith("run-"))
    (run_folder / "console" / "2026-01-01.log").symlink_to("/etc/passwd")
    project, log = ask([swanlog], ("GET", "api/v1/project"), ("GET", "api/v1/experiment/1/recent_log"))
    assert read(project)["experiments"] == []
    assert b"root:" not in log.body


def test_boards_are_shared_end_when_idle_and_with_the_platform(attempts: list[Path]) -> None:
    async def go() -> None:
        keeper = BoardKeeper(idle_seconds=2)
        answers = await asyncio.gather(
            *(serve_board(keeper, JOB, attempts, "GET", "api/v1/project") for _ in range(6))
        )
        assert {answer.status for answer in answers} == {200}
        assert keeper.count() == 1
        assert len(list_boards()) == 1
        assert not [c for process in list_boards() for c in process.net_connections("inet")], (
            "on no port at all"
        )
        for _ in range(75):
            if keeper.count():
                await asyncio.sleep(0.2)
        assert keeper.count() == 0
        assert list_boards() == []
        again = await serve_board(keeper, JOB, attempts, "GET", "")
        assert again.status == 200
        await keeper.close()
        assert list_boards() == []

    asyncio.run(go())


def test_the_board_looked_at_longest_ago_makes_room(attempts: list[Path]) -> None:
    async def go() -> None:
        keeper = BoardKeeper(max_boards=1)
        assert (await serve_board(keeper, "job1aaaa", attempts, "GET", "")).status == 200
        assert (await serve_board(keeper, "job2aaaa", attempts, "GET", "")).status == 200
        assert keeper.count() == 1
        assert (await serve_board(keeper, "job1aaaa", attempts, "GET", "")).status == 200
        await keeper.close()

    asyncio.run(go())


def test_a_board_that_was_killed_is_started_again(attempts: list[Path]) -> None:
    async def go() -> None:
        keeper = BoardKeeper()
        assert (await serve_board(keeper, JOB, attempts, "GET", "")).status == 200
        for process in list_boards():
            process.kill()
            process.wait(5)
        await asyncio.sleep(0.1)
        assert (await serve_board(keeper, JOB, attempts, "GET", "")).status == 200
        await keeper.close()

    asyncio.run(go())


def list_boards() -> list[psutil.Process]:
    """Return the board processes that this test process started."""
    children = psutil.Process().children(recursive=True)
    return [
        child
        for child in children
        if child.is_running() and "backend.board.serve" in " ".join(child.cmdline())
    ]


@pytest.fixture
def site(attempts: list[Path]) -> Iterator[str]:
    """A small site that shows the board where the platform does; other pages of it do not exist."""
    keeper = BoardKeeper()

    async def board(request: Request) -> Response:
        path = request.path_params["path"]
        answer = await serve_board(keeper, JOB, attempts, request.method, path, request.url.query)
        return Response(answer.body, answer.status, answer.headers)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await keeper.close()

    methods = ["GET", "HEAD", "POST", "PATCH", "DELETE"]
    app = Starlette(
        routes=[Route("/jobs/{job}/board/{path:path}", board, methods=methods)], lifespan=lifespan
    )
    port = find_free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/jobs/{JOB}/board/"
    server.should_exit = True
    thread.join(10)


COUNT_DRAWN = """
() => [...document.querySelectorAll('canvas')].filter(canvas => {
    if (!canvas.width || !canvas.height) return false;
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.some((value, index) => index % 4 === 3 && value > 0);
}).length
"""


@pytest.mark.browser
def test_charts_are_drawn_behind_the_prefix(site: str, chromium_path: str, tmp_path: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        errors: list[str] = []
        addresses: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: addresses.append(request.url))
        page.goto(site, wait_until="networkidle")
        page.get_by_text("my-job #2").first.wait_for()
        page.goto(f"{site}experiment/2/chart", wait_until="networkidle")
        page.wait_for_selector("canvas")
        page.wait_for_function(f"({COUNT_DRAWN})() >= 2", timeout=20000)
        shot = Path(os.environ.get("TUNEFORGE_TEST_SHOTS", tmp_path)) / "board.png"
        page.screenshot(path=shot)
        page.goto(f"{site}charts", wait_until="networkidle")
        page.wait_for_function(f"({COUNT_DRAWN})() >= 1", timeout=20000)
        browser.close()
    assert errors == []
    assert [address for address in addresses if not address.startswith((site, "data:", "blob:"))] == []


def test_every_edit_still_finds_its_place() -> None:
    """A newer swanboard whose files look otherwise must be noticed here, not by a person with a blank page."""
    import swanboard

    template = Path(swanboard.__file__).parent / "template"
    (index,) = (template / "assets").glob("index-*.js")
    (style,) = (template / "assets").glob("index-*.css")
    counts: list[tuple[Path, str, Callable[[int], bool]]] = [
        (template / "index.html", '"/assets/', lambda n: n >= 2),
        (template / "index.html", "<head>", lambda n: n == 1),
        (index, 'baseURL:"/api/v1"', lambda n: n == 1),
        (index, 'return"/"+', lambda n: n == 1),
        (style, "url(/assets/", lambda n: n == 2),
    ]
    for file, text, holds in counts:
        assert holds(file.read_text().count(text)), (file.name, text)
