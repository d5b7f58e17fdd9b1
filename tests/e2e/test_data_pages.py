"""From a broken zip to a job that trains, in a real browser on the platform; uploads that outlive the web process."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from backend.domain.demonstration import TRAIN_ARGS, TRAIN_DATASET_NAME
from backend.launch.children import list_marked
from tests.conftest import CHROMIUM_FLAGS
from tests.e2e.conftest import PASSWORD, RunningPlatform

pytestmark = [pytest.mark.real, pytest.mark.browser, pytest.mark.timeout(1800)]

WORK_MILLISECONDS = 240_000
JOB_MILLISECONDS = 300_000
CHUNK_BYTES = 8 << 20
GOOD_ROWS = 48


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """One Chromium for the tests here."""
    expect.set_options(timeout=60_000)  # other tests train beside these
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(platform: RunningPlatform, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A window of somebody new who reads English; no script may have failed in it."""
    context = browser.new_context(
        base_url=platform.url, locale="en-GB", viewport={"width": 1440, "height": 900}
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto("/register")
    page.fill("#username", re.sub(r"\W", "", request.node.name)[-20:])
    page.fill("#password", PASSWORD)
    page.fill("#repeated", PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_url(re.compile(r"/$"))
    yield page
    context.close()
    assert failures == []


def pack_broken_zip(demonstration: Path, target: Path) -> int:
    """Pack rows of the demonstration with three broken ones among them; return how many rows there are.

    One row has an empty answer, which can be learnt; one has two questions in a row, one a picture that is not there.
    """
    rows: list[dict[str, Any]] = json.loads((demonstration / "data.json").read_text("utf-8"))[:GOOD_ROWS]
    pictures = {picture for row in rows for picture in row["images"]}
    question = {"role": "user", "content": "<image>前方是什么？"}
    known = rows[0]["images"]
    broken = [
        {"messages": [question, {"role": "assistant", "content": ""}], "images": known},
        {"messages": [question, {"role": "user", "content": "还有呢？"}], "images": known},
        {"messages": rows[0]["messages"], "images": ["images/lost.jpg"]},
    ]
    rows[10:10] = broken
    with zipfile.ZipFile(target, "w") as packed:
        packed.writestr("driving/data.json", json.dumps(rows, ensure_ascii=False, indent=1))
        for picture in sorted(pictures):
            packed.write(demonstration / picture, f"driving/{picture}")
    return len(rows)


def drop(page: Page, path: Path) -> None:
    """Drop a file onto the zone, as a hand does."""
    transfer = page.evaluate_handle(
        """([name, content]) => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            return transfer;
        }""",
        [path.name, base64.b64encode(path.read_bytes()).decode()],
    )
    page.dispatch_event("#drop-zone", "dragover", {"dataTransfer": transfer})
    page.dispatch_event("#drop-zone", "drop", {"dataTransfer": transfer})


def test_a_broken_zip_is_told_cleaned_and_trained_on(
    platform: RunningPlatform, page: Page, tmp_path: Path
) -> None:
    shots = Path(os.environ.get("TUNEFORGE_TEST_SHOTS", tmp_path))
    total = pack_broken_zip(platform.home / "datasets" / TRAIN_DATASET_NAME, tmp_path / "driving.zip")
    page.goto("/data")
    drop(page, tmp_path / "driving.zip")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="driving", exact=True))
    expect(row).to_contain_text(f"{total} rows", timeout=WORK_MILLISECONDS)
    page.screenshot(path=shots / "data-list.png")
    row.get_by_role("link", name="driving", exact=True).click()
    page.wait_for_url("**/data/*")
    page.click("#tab-findings")
    read_the_findings(page)
    page.screenshot(path=shots / "data-findings.png")
    first_address = page.url
    page.click("[data-clean]")
    page.wait_for_url(lambda url: "/data/" in url and url != first_address)
    expect(page.locator("[data-badges] .status")).to_have_text("Ready", timeout=WORK_MILLISECONDS)
    expect(page.locator("[data-badges]")).to_contain_text("version 2")
    expect(page.locator("[data-tiles] .tile").nth(1)).to_contain_text(f"{GOOD_ROWS + 1}usable")
    look_at_rows_and_statistics(page)
    page.screenshot(path=shots / "data-rows.png")
    train_on_it(page)


def read_the_findings(page: Page) -> None:
    """Every broken row is told with its line; what is wrong can be downloaded and looked at."""
    findings = page.locator("[data-findings]")
    expect(findings.locator(".finding")).not_to_have_count(0)
    # from the last to the first, as one that is open is no longer among them
    for group in reversed(findings.locator(".finding:not([open]) > summary").all()):
        group.click()
    expect(findings).to_contain_text("lost.jpg")
    expect(findings.locator(".finding-where").first).to_contain_text(re.compile(r"line \d+"))
    with page.expect_download() as started:
        page.get_by_role("link", name="Download all (CSV)").click()
    table = Path(started.value.path()).read_text("utf-8-sig")
    assert "lost.jpg" in table
    assert {line.split(",")[5] for line in table.splitlines()} >= {"10", "11", "12"}, table
    page.get_by_role("button", name="See these rows").first.click()
    expect(page.locator(".data-row.faulty").first).to_be_visible()
    page.click("#tab-findings")


def look_at_rows_and_statistics(page: Page) -> None:
    """A row is a conversation with its picture; its template marks the answer; lengths are drawn."""
    page.click("#tab-statistics")
    expect(page.locator(".histogram-bars li").first).to_be_attached()
    page.click("#tab-rows")
    first = page.locator("[data-row='0']")
    picture = first.locator("img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 50
    answer = first.locator(".answer-side .message-text").first.inner_text()
    first.locator("[data-render]").click()
    expect(first.locator(".rendered pre mark").first).to_contain_text(answer)


def train_on_it(page: Page) -> None:
    """From the dataset to the form, where it is chosen already, and to a job that succeeds."""
    page.click("[data-train]")
    page.wait_for_url("**/train?dataset=*")
    expect(page.locator("[data-datasets] input:checked")).to_have_count(1)
    page.fill("#args-num_train_epochs", "1")
    for name in ("learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "cutoff_len"):
        page.fill(f"#args-{name}", str(TRAIN_ARGS[name]))
    expect(page.locator("[data-bar-time]")).to_be_visible()
    page.click("[data-submit]")
    page.wait_for_url(re.compile(r"/jobs/[a-z0-9]+$"))
    expect(page.locator("[data-job-status]")).to_contain_text("Succeeded", timeout=JOB_MILLISECONDS)
    expect(page.locator("#panel-info")).to_contain_text("driving@2")


def test_an_upload_goes_on_after_the_web_process_was_killed(
    platform: RunningPlatform, page: Page, tmp_path: Path
) -> None:
    content = random.Random(7).randbytes(3 * CHUNK_BYTES + 777)
    film = tmp_path / "film.bin"
    film.write_bytes(content)
    offsets: list[int] = []

    def kill_once(route: Route) -> None:
        if route.request.method == "PATCH":
            offsets.append(int(route.request.headers["upload-offset"]))
            if offsets[-1] == 2 * CHUNK_BYTES and offsets.count(2 * CHUNK_BYTES) == 1:
                kill_the_web_process(platform)
        route.continue_()

    page.goto("/files")
    page.route("**/api/v1/uploads/*", kill_once)
    page.set_input_files("#drop-zone input[type=file]", str(film))
    link = page.get_by_role("link", name="film.bin", exact=True)
    expect(link).to_be_visible(timeout=WORK_MILLISECONDS)
    with page.expect_download() as started:
        link.click()
    assert Path(started.value.path()).read_bytes() == content
    assert offsets.count(2 * CHUNK_BYTES) >= 2, f"it was not cut off: {offsets}"
    assert offsets.count(0) == 1, f"what had come was sent again: {offsets}"


def kill_the_web_process(platform: RunningPlatform) -> None:
    """As a crash does; whoever watches over the processes starts another."""
    [process] = [process for process in list_marked(platform.home) if process.cmdline()[-1] == "web"]
    process.send_signal(signal.SIGKILL)
    process.wait(30)


def test_a_preset_is_listed_and_estimated_before_it_is_fetched(page: Page) -> None:
    page.goto("/models")
    card = page.locator('[data-model="qwen2.5-vl-7b-instruct"]')
    expect(card).to_contain_text("Not fetched")
    expect(card.get_by_role("button", name="Fetch")).to_be_enabled()
    page.goto("/data?show=available")
    preset = page.get_by_role("row").filter(has=page.get_by_role("link", name="QA_from_CoVLA_zh", exact=True))
    expect(preset.get_by_role("button", name="Fetch")).to_be_enabled()
    page.goto("/train?model=qwen2.5-vl-7b-instruct")
    expect(page.locator("[data-model-details]")).to_contain_text("must be fetched before you submit")
    page.check('input[value="QA_from_CoVLA_zh"]')
    expect(page.locator("[data-bar-time]")).to_be_visible()
    expect(page.locator("[data-bar-cost]")).to_contain_text("¥")
    page.click("[data-submit]")
    expect(page.locator(".toast.bad")).to_be_visible()
    assert page.url.endswith("/train?model=qwen2.5-vl-7b-instruct"), "nothing was queued"
