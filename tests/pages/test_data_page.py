"""Datasets in a real browser with a real librarian: what is not recognised is told by hand, what fails says why."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from backend.database import transaction
from backend.services import catalogue
from tests.factories import make_model, register_node
from tests.librarian.conftest import Librarian
from tests.pages.conftest import Reader

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("librarian")]

WORK_MILLISECONDS = 120_000


@pytest.fixture(scope="module")
def librarian(migrated_database: str, session_folder: Path) -> Iterator[None]:
    """A librarian for these tests and no longer: it would take the chores of others."""
    running = Librarian(session_folder, session_folder / "no-imports")
    running.start()
    yield
    running.stop()


def upload(page: Page, path: Path) -> None:
    """Choose a file in the zone."""
    page.goto(page.url.split("/data")[0] + "/data")
    page.set_input_files("#drop-zone input[type=file]", str(path))


def open_dataset(page: Page, name: str) -> None:
    """Follow a dataset's link once it is in the list."""
    page.get_by_role("link", name=name, exact=True).click()
    page.wait_for_url("**/data/*")


def write_lines(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows as jsonl."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def test_columns_with_other_names_are_told_by_hand(reader: Reader, tmp_path: Path) -> None:
    rows = [{"frage": f"What is {n} + {n}? <b>", "antwort": str(2 * n), "autor": "me"} for n in range(30)]
    page = reader.open("/data")
    upload(page, write_lines(tmp_path / "sums.jsonl", rows))
    open_dataset(page, "sums")
    status = page.locator("[data-badges] .status")
    expect(status).to_have_text("Unusable", timeout=WORK_MILLISECONDS)
    expect(page.locator("[data-state]")).to_contain_text("Say on the page which columns hold what")
    page.get_by_role("tab", name="Columns and roles").click()
    expect(page.locator("#seen-columns option")).to_have_count(3)
    page.select_option("#formatting", "alpaca")
    page.fill("#columns-prompt", "frage")
    page.fill("#columns-response", "no such column")
    page.get_by_role("button", name="Save and check again").click()
    page.get_by_role("tab", name="Findings").click()
    expect(page.locator("[data-findings]")).to_contain_text("no such column", timeout=WORK_MILLISECONDS)
    page.get_by_role("tab", name="Columns and roles").click()
    page.fill("#columns-response", "antwort")
    page.get_by_role("button", name="Save and check again").click()
    expect(status).to_have_text("Ready", timeout=WORK_MILLISECONDS)
    page.get_by_role("tab", name="Rows").click()
    page.fill("#row-search", "What is 21 +")
    expect(page.locator(".data-row")).to_have_count(1)
    expect(page.locator(".data-row .answer-side .message-text")).to_have_text("42")
    expect(page.locator(".data-row .message-text").first).to_have_text("What is 21 + 21? <b>")
    page.fill("#row-search", "no such text")
    expect(page.get_by_text("No row matches.")).to_be_visible()
    page.get_by_role("button", name="Rename").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("input").fill("additions")
    dialog.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text("additions")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/data")
    expect(page.get_by_role("button", name="Mine (0)")).to_be_visible()


def test_what_fails_says_why_where_it_was_asked(reader: Reader, tmp_path: Path) -> None:
    page = reader.open("/data")
    expect(page.get_by_text("No datasets yet.")).to_be_visible()
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as packed:
        packed.writestr("../../escaped.json", "[]")
    upload(page, tmp_path / "evil.zip")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="evil", exact=True))
    expect(row.locator(".status")).to_have_text("Import failed", timeout=WORK_MILLISECONDS)
    expect(row.locator(".field-error")).to_contain_text("escaped.json")
    page.get_by_role("button", name="Import from a hub or path").click()
    page.select_option("#source", "path")
    page.fill("#path", "/etc/passwd")
    page.locator("#import-form").get_by_role("button", name="Import").click()
    fault = page.locator('[data-fault="path"], #import-error').locator("visible=true")
    expect(fault).to_have_count(1)
    expect(fault).not_to_be_empty()
    page.get_by_role("button", name="Cancel").click()
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No datasets yet.")).to_be_visible()


def test_nothing_is_wider_than_a_phone(reader: Reader, tmp_path: Path) -> None:
    long_word = "x" * 400
    rows = [{"instruction": long_word, "output": ""}, {"instruction": "好", "output": long_word}]
    page = reader.open("/data")
    page.set_viewport_size({"width": 390, "height": 844})
    upload(page, write_lines(tmp_path / f"{'long' * 20}.jsonl", rows))
    name = "long" * 20
    expect(page.get_by_role("row").filter(has_text="2 rows")).to_be_visible(timeout=WORK_MILLISECONDS)
    widths = "[document.documentElement.scrollWidth, window.innerWidth]"
    seen = {"list": page.evaluate(widths)}
    open_dataset(page, name)
    for tab in ("overview", "findings", "rows", "statistics", "mapping"):
        page.click(f"#tab-{tab}")
        expect(page.locator(f"#panel-{tab} .card").first).to_be_visible()
        seen[tab] = page.evaluate(widths)
    assert {part: wide for part, (wide, window) in seen.items() if wide > window} == {}


def test_what_was_uploaded_before_the_page_was_closed_is_imported_later(
    reader: Reader, tmp_path: Path
) -> None:
    rows = [{"instruction": f"question {n}", "output": f"answer {n}"} for n in range(20)]
    page = reader.open("/data")
    page.route(
        "**/api/v1/datasets*",
        lambda route: route.abort() if route.request.method == "POST" else route.continue_(),
    )
    upload(page, write_lines(tmp_path / "late.jsonl", rows))
    expect(page.locator("[data-upload]")).to_contain_text("all uploaded")
    page.unroute("**/api/v1/datasets*")
    page.reload()
    page.locator("[data-upload]").get_by_role("button", name="Import").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="late", exact=True))
    expect(row.locator(".status")).to_have_text("Ready", timeout=WORK_MILLISECONDS)
    expect(page.locator("[data-upload]")).to_have_count(0)


def test_what_needs_cleaning_is_cleaned_by_the_first_button_of_its_page(
    reader: Reader, tmp_path: Path
) -> None:
    rows = [{"instruction": f"question {n}", "output": f"answer {n}"} for n in range(20)]
    file = write_lines(tmp_path / "cut.jsonl", rows)
    file.write_text(file.read_text() + '{"instruction": "and then')
    page = reader.open("/data")
    upload(page, file)
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="cut", exact=True))
    expect(row.locator(".status")).to_have_text("Needs cleaning", timeout=WORK_MILLISECONDS)
    open_dataset(page, "cut")
    banner = page.locator("[data-state] .banner")
    expect(banner).to_contain_text("keeps 20 of 20 rows")
    expect(page.locator("[data-versions] .status")).to_have_text("Needs cleaning")
    first = page.url
    banner.get_by_role("button", name="Make a cleaned copy (keeps 20 rows)").click()
    page.wait_for_url(lambda url: url != first)
    expect(page.locator("[data-badges] .status")).to_have_text("Ready", timeout=WORK_MILLISECONDS)
    page.goto(first)
    expect(banner.get_by_role("link", name="Open the cleaned copy (version 2)")).to_be_visible()


def test_the_form_offers_to_clean_what_would_stop(
    reader: Reader, tmp_path: Path, tuneforge_home: Path
) -> None:
    make_model(tuneforge_home)
    register_node()
    with transaction() as session:
        catalogue.discover(session)
    rows = [{"instruction": f"question {n}", "output": f"answer {n}"} for n in range(20)]
    file = write_lines(tmp_path / "halved.jsonl", rows)
    file.write_text(file.read_text() + '{"instruction": "and then')
    page = reader.open("/data")
    upload(page, file)
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="halved", exact=True))
    expect(row.locator(".status")).to_have_text("Needs cleaning", timeout=WORK_MILLISECONDS)
    reader.open("/train")
    offer = page.locator(".dataset-row").filter(has_text="halved")
    expect(offer.get_by_role("checkbox")).to_be_disabled()
    offer.get_by_role("button", name="Make a cleaned copy (keeps 20 rows)").click()
    expect(offer.get_by_role("checkbox")).to_be_checked(timeout=WORK_MILLISECONDS)
    expect(offer).to_contain_text("20 rows")
