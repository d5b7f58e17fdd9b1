"""The page of models in a real browser: a model from a hub, paused, gone on with, failed and tried again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.hubs.conftest import MODEL, ROOT, FakeHub, fill, kill
from tests.pages.conftest import Reader, browser, reader, web_server

__all__ = ["browser", "reader", "web_server"]

pytestmark = pytest.mark.browser

WORK_MILLISECONDS = 120_000
WEIGHTS = "model.safetensors"


@pytest.fixture
def librarian(hub: FakeHub, database: None) -> Iterator[None]:
    """A librarian that knows the fake hub."""
    command = [sys.executable, "-m", "backend.cli", "librarian"]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    yield
    kill(process)


def test_a_model_is_added_paused_and_gone_on_with(hub: FakeHub, librarian: None, reader: Reader) -> None:
    fill(hub, elements=2_000_000)
    slow = {"place": "bytes", "path": WEIGHTS, "kind": "slow", "seconds": 1.0}
    hub.break_with({"place": "list", "kind": 401}, slow)
    page = reader.open("/models")
    page.get_by_role("button", name="Add from a hub or path").click()
    page.select_option("#source", "huggingface")
    page.fill("#repo_id", "not a repository")
    page.locator("#add-form").get_by_role("button", name="Add").click()
    expect(page.locator('[data-fault="repo_id"]')).not_to_be_empty()
    page.fill("#repo_id", MODEL)
    page.fill("#name", "little")
    page.locator("#add-form").get_by_role("button", name="Add").click()
    card = page.locator("[data-model]").filter(has=page.get_by_role("heading", name="little", exact=True))
    expect(card.locator(".status")).to_have_text("Download failed", timeout=WORK_MILLISECONDS)
    expect(card.locator(".field-error")).not_to_be_empty()
    card.get_by_role("button", name="Try again").click()
    expect(card).to_contain_text("downloading", timeout=WORK_MILLISECONDS)
    card.get_by_role("button", name="Pause").click()
    expect(card.locator(".status")).to_have_text("Paused", timeout=WORK_MILLISECONDS)
    hub.break_with()
    card.get_by_role("button", name="Go on").click()
    expect(card.locator(".status")).to_have_text("Ready", timeout=WORK_MILLISECONDS)
    expect(card.get_by_role("link", name="Fine-tune")).to_be_visible()
    card.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(card).to_have_count(0)


def test_the_catalogue_is_searched_and_leads_to_a_download(
    hub: FakeHub, librarian: None, reader: Reader
) -> None:
    page = reader.open("/models#catalogue")
    rows = page.locator("#catalogue tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(100)
    page.fill("#catalogue-search", "qwen2.5-vl-7b")
    expect(page.locator("#catalogue")).to_contain_text("Qwen2.5-VL-7B-Instruct")
    page.select_option("#catalogue-modality", "audio")
    expect(page.locator("#catalogue")).to_contain_text("No model matches")
    page.select_option("#catalogue-modality", "image")
    row = page.get_by_role("row").filter(has=page.get_by_text("Qwen2.5-VL-7B-Instruct", exact=True))
    row.get_by_role("button", name="Fetch").click()
    expect(row.get_by_text("Added")).to_be_visible()
    row.get_by_text("Added").click()
    # The hub does not have it: the page says so, and not that it went well.
    card = page.locator("[data-model]").filter(has=page.get_by_role("heading", name="Qwen2.5-VL-7B-Instruct"))
    expect(card.locator(".status")).to_have_text("Download failed", timeout=WORK_MILLISECONDS)
    expect(card.locator(".field-error")).not_to_be_empty()
