"""Files in a real browser: up, down, as a zip, in folders; an upload that goes on after a reload and an outage."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from backend.domain.protocol import ArtifactFile
from tests.factories import finish_job, write_attempt_file
from tests.pages.conftest import Reader, Run, WebServer

pytestmark = pytest.mark.browser

CHUNK_BYTES = 8 << 20


def choose(page: Page, *paths: Path) -> None:
    """Choose files in the zone where they may also be dropped."""
    page.set_input_files("#drop-zone input[type=file]", [str(path) for path in paths])


def download(page: Page, name: str) -> bytes:
    """Press a link that downloads, and return what came."""
    with page.expect_download() as started:
        page.get_by_role("link", name=name, exact=True).click()
    return Path(started.value.path()).read_bytes()


def ask_for_text(page: Page, text: str, confirm: str) -> None:
    """Fill and confirm the dialog that asks for a name."""
    dialog = page.get_by_role("dialog")
    dialog.locator("input").fill(text)
    dialog.get_by_role("button", name=confirm).click()


def test_files_go_up_and_down_in_folders(reader: Reader, tmp_path: Path) -> None:
    letter = tmp_path / "<b>letter.txt"
    letter.write_text("dear reader", "utf-8")
    page = reader.open("/files")
    expect(page.get_by_text("No files yet.")).to_be_visible()
    page.get_by_role("button", name="New folder").click()
    ask_for_text(page, "letters", "Make")
    page.get_by_role("button", name="letters", exact=True).click()
    expect(page.get_by_text("This folder is empty.")).to_be_visible()
    choose(page, letter)
    row = page.get_by_role("row", name="<b>letter.txt")
    expect(row).to_contain_text("11 B")
    assert download(page, "<b>letter.txt") == b"dear reader"
    row.get_by_role("button", name="Rename").click()
    ask_for_text(page, "first.txt", "Save")
    expect(page.get_by_role("link", name="first.txt", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("button", name="letters", exact=True)).to_be_visible()
    expect(page.locator("#crumbs button")).to_have_count(0)
    with zipfile.ZipFile(io.BytesIO(download(page, "Download as zip"))) as packed:
        [name] = [name for name in packed.namelist() if not name.endswith("/")]
        assert name.endswith("letters/first.txt")
        assert packed.read(name) == b"dear reader"
    page.get_by_role("button", name="Delete letters").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No files yet.")).to_be_visible()


def test_an_upload_goes_on_after_a_reload_and_an_outage(
    reader: Reader, web_server: WebServer, tmp_path: Path
) -> None:
    content = random.Random(5).randbytes(3 * CHUNK_BYTES + 12345)
    film = tmp_path / "film.bin"
    film.write_bytes(content)
    page = reader.open("/files")
    offsets: list[int] = []

    def let_one_pass(route: Route) -> None:
        offsets.append(int(route.request.headers["upload-offset"]))
        if offsets[-1] == 0:
            route.continue_()
        else:
            route.abort()

    page.route("**/api/v1/uploads/*", lambda route: is_piece(route, let_one_pass))
    choose(page, film)
    upload = page.locator("[data-upload]")
    expect(upload).to_contain_text("it goes on by itself")
    page.on("dialog", lambda dialog: dialog.accept())  # the browser asks before it leaves an upload
    page.reload()
    expect(upload).to_contain_text("choose the same file again")

    def restart_the_server_once(route: Route) -> None:
        offsets.append(int(route.request.headers["upload-offset"]))
        if offsets.count(2 * CHUNK_BYTES) == 1 and offsets[-1] == 2 * CHUNK_BYTES:
            web_server.stop()
            route.abort()
            web_server.start()
        else:
            route.continue_()

    page.unroute("**/api/v1/uploads/*")
    page.route("**/api/v1/uploads/*", lambda route: is_piece(route, restart_the_server_once))
    page.set_input_files("[data-continue-input]", str(film))
    expect(page.get_by_role("link", name="film.bin", exact=True)).to_be_visible(timeout=60_000)
    expect(upload).to_have_count(0)
    assert download(page, "film.bin") == content
    assert offsets.count(0) == 1, f"nothing that came was sent again: {offsets}"


def is_piece(route: Route, act: Callable[[Route], None]) -> None:
    """Let `act` decide about pieces; every other request passes."""
    if route.request.method == "PATCH":
        act(route)
    else:
        route.continue_()


def test_what_jobs_left_is_read_only(reader: Reader, start_run: Callable[..., Run]) -> None:
    run = start_run(name="tuned")
    write_attempt_file(run.job_id, 1, "output/adapter_model.safetensors", b"weights")
    finish_job(run.order, artifacts=[ArtifactFile(name="adapter_model.safetensors", size_bytes=7)])
    page = reader.open("/files")
    page.get_by_role("button", name="jobs").click()
    page.get_by_role("button", name="tuned-").click()
    expect(page.get_by_role("link", name="adapter_model.safetensors", exact=True)).to_be_visible()
    expect(page.locator("#drop-zone")).to_be_hidden()
    expect(page.get_by_role("button", name="Delete adapter_model.safetensors")).to_have_count(0)
    assert download(page, "adapter_model.safetensors") == b"weights"
