"""The whole way in a real browser on real LLaMA-Factory: register, fine-tune, follow, evaluate twice, compare."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from backend.domain.demonstration import HELDOUT_DATASET_NAME, TRAIN_ARGS, TRAIN_DATASET_NAME
from tests.conftest import CHROMIUM_FLAGS
from tests.e2e.conftest import PASSWORD, RunningPlatform

pytestmark = [pytest.mark.real, pytest.mark.browser, pytest.mark.timeout(1800)]

JOB_MILLISECONDS = 300_000


@pytest.fixture
def page(platform: RunningPlatform, chromium_path: str) -> Iterator[Page]:
    """A window of a person who reads Chinese; no script may have failed in it."""
    expect.set_options(timeout=60_000)  # other tests train beside this one
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_FLAGS)
        context = browser.new_context(
            base_url=platform.url, locale="zh-CN", viewport={"width": 1440, "height": 900}
        )
        page = context.new_page()
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        yield page
        browser.close()
        assert failures == []


def test_from_registering_to_reading_the_comparison(page: Page, tmp_path: Path) -> None:
    shots = Path(os.environ.get("TUNEFORGE_TEST_SHOTS", tmp_path))
    register(page, "xiaoming")
    train_url = fine_tune(page)
    page.screenshot(path=shots / "e2e-training.png")
    follow(page, train_url)
    page.screenshot(path=shots / "e2e-trained.png")
    look_at_the_board(page)
    page.goto(train_url)
    evaluate_against_the_untouched_model(page)
    compare(page)
    page.screenshot(path=shots / "e2e-comparison.png", full_page=True)


def register(page: Page, username: str) -> None:
    """Make an account; it is signed in at once."""
    page.goto("/register")
    page.fill("#username", username)
    page.fill("#password", PASSWORD)
    page.fill("#repeated", PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_url(re.compile(r"/$"))


def fine_tune(page: Page) -> str:
    """Fill the form as the demonstration's job is set, but shorter, and submit it; return the job's address."""
    page.goto("/train")
    page.fill("#name", "驾驶问答")
    page.check(f'input[value="{TRAIN_DATASET_NAME}"]')
    for name in ("learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "cutoff_len"):
        page.fill(f"#args-{name}", str(TRAIN_ARGS[name]))
    page.fill("#args-num_train_epochs", "1")
    expect(page.locator("[data-bar-time]")).to_be_visible()
    expect(page.locator("[data-bar-cost]")).to_contain_text("¥")
    page.click("[data-submit]")
    page.wait_for_url(re.compile(r"/jobs/[a-z0-9]+$"))
    return page.url


def follow(page: Page, url: str) -> None:
    """The page moves by itself, also after it was closed and opened again, and shows the end."""
    steps = page.locator("[data-progress-steps]")
    expect(steps).to_contain_text(re.compile(r"[1-9]\d* ?/ ?\d+"), timeout=JOB_MILLISECONDS)
    page.goto("about:blank")
    page.goto(url)
    expect(page.locator("[data-job-status]")).to_contain_text("运行完成", timeout=JOB_MILLISECONDS)
    page.click("#tab-log")
    expect(page.locator("#panel-log")).to_contain_text("Training completed", timeout=30_000)
    page.click("#tab-tracking")
    expect(page.locator("#panel-tracking canvas").first).to_be_visible()


def look_at_the_board(page: Page) -> None:
    """ "Enter now" opens SwanLab's own dashboard of this job, with its charts."""
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="立即进入").click()
    board = opened.value
    expect(board.get_by_text("train/loss").first).to_be_visible(timeout=60_000)
    board.close()


def evaluate_against_the_untouched_model(page: Page) -> None:
    """From the job to the form, prefilled; the untouched model comes along; wait until both are done."""
    page.click('[data-action="evaluate"]')
    page.wait_for_url("**/evaluate?job=*")
    page.check(f'input[value="{HELDOUT_DATASET_NAME}"]')
    page.locator("[data-compare-field] input").check()
    expect(page.locator("[data-bar-time]")).to_be_visible()
    page.click("[data-submit]")
    page.wait_for_url(lambda url: "/evaluate" not in url)
    page.goto("/jobs?kind=evaluate")
    done = page.locator('[data-job] [data-status="succeeded"]')
    expect(done).to_have_count(2, timeout=2 * JOB_MILLISECONDS)


def compare(page: Page) -> None:
    """Both evaluations side by side, row by row, with pictures and each model's answer."""
    jobs = page.request.get("/api/v1/jobs?kind=evaluate").json()["data"]
    untouched, tuned = (
        next(job for job in jobs if (job["spec"]["adapter"] is None) is is_untouched)
        for is_untouched in (True, False)
    )
    page.goto(f"/compare?jobs={untouched['id']},{tuned['id']}")
    expect(page.locator("[data-summary]")).to_contain_text("ROUGE")
    picture = page.locator("[data-rows] img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 50
    results = [
        page.request.get(f"/api/v1/jobs/{job['id']}/results").json()["predict_bleu-4"]
        for job in (untouched, tuned)
    ]
    assert results[1] > results[0], results
