"""The import dialog in a real browser: which part of a repository is chosen before anything is fetched."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.hubs.conftest import DATASET, FakeHub
from tests.hubs.test_dataset_downloads import LANGUAGES, fill_languages
from tests.hubs.test_models_page import WORK_MILLISECONDS, librarian
from tests.pages.conftest import Reader, browser, reader, web_server

__all__ = ["browser", "librarian", "reader", "web_server"]

pytestmark = pytest.mark.browser


def test_a_part_is_chosen_and_only_that_one_comes(hub: FakeHub, librarian: None, reader: Reader) -> None:
    fill_languages(hub)
    hub.write("datasets", "acme/scripted", "scripted.py", b"raise SystemExit")
    page = reader.open("/data")
    page.get_by_role("button", name="Import from a hub or path").click()
    dialog = page.locator("#import-dialog")
    page.select_option("#source", "huggingface")
    for name, place, words in (
        ("not a repository", '[data-fault="repo_id"]', ""),
        ("acme/scripted", "#import-error", "a program of its own (scripted.py)"),
        ("acme/none", "#import-error", "has no repository"),
    ):
        page.fill("#repo_id", name)
        dialog.get_by_role("button", name="Import").click()
        expect(dialog.locator(place)).to_contain_text(words)
        expect(dialog.locator(place)).to_be_visible()
    page.fill("#repo_id", LANGUAGES)
    dialog.get_by_role("button", name="Import").click()
    options = page.locator("#split option")
    expect(options).to_have_count(3)
    expect(options.nth(0)).to_contain_text("en / train (40 rows, ")
    expect(page.locator("#split")).to_have_value("0")
    page.fill("#repo_id", DATASET)  # another repository: what was listed does not count
    expect(page.locator("#split")).to_be_hidden()
    page.fill("#repo_id", LANGUAGES)
    dialog.get_by_role("button", name="Import").click()
    page.select_option("#split", label=options.nth(1).inner_text())
    dialog.get_by_role("button", name="Import").click()
    expect(dialog).to_be_hidden()
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="languages-en-test", exact=True))
    expect(row.locator(".status")).to_have_text("Ready", timeout=WORK_MILLISECONDS)
    expect(row).to_contain_text("5 rows")
    assert not [one for one in hub.list_requests() if "part-" in one["path"] or "all.jsonl" in one["path"]]
