"""In a real browser: the form's note goes from letters to the tokenizer by itself; the dataset's page shows the chart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from backend import storage
from backend.database import transaction
from backend.services.profiles import KIND
from backend.tables.chore import Chore
from tests.factories import make_own_dataset
from tests.pages.conftest import Reader
from tests.profiles.doing import do_chore
from tests.profiles.small_tokenizers import write_tokenizer

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("catalogue_rows")]
ROWS = 300


@pytest.fixture
def dataset(reader: Reader, catalogue_rows: None, tuneforge_home: Path) -> str:
    """A dataset of the reader's whose rows grow, and a tokenizer for the model."""
    write_tokenizer(tuneforge_home / "models" / "tiny")
    dataset_id = make_own_dataset(
        reader.id, example_count=ROWS, report={"stage": "sft", "usable_count": ROWS}
    )
    rows = ",".join(
        f'{{"instruction": "{number}", "output": "{"left " * (1 + number)}"}}' for number in range(ROWS)
    )
    folder = storage.get_home() / "users" / reader.id / "datasets" / dataset_id
    (folder / "a.json").write_text(f"[{rows}]")
    return dataset_id


def take_picture(page: Page, name: str) -> None:
    """Keep a screenshot where somebody asks for them (SCREENSHOTS names a folder)."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_the_forms_note_goes_from_letters_to_the_tokenizer(reader: Reader, dataset: str) -> None:
    page = reader.open("/train")
    page.check(f'input[value="{dataset}"]')
    note = page.locator("[data-bar-lengths]")
    expect(note).to_contain_text("reckoned from the letters while this model's tokenizer counts")
    before = page.locator("[data-bar-time]").inner_text()
    take_picture(page, "form-counting")
    page.fill("#args-gradient_accumulation_steps", "4")
    page.fill("#args-gradient_accumulation_steps", "8")
    expect(note).to_contain_text("tokenizer counts")
    with transaction() as session:
        assert session.query(Chore).where(Chore.kind == KIND).count() == 1
    assert do_chore()[1] == 0
    expect(note).to_have_text("Lengths are counted with this model's tokenizer.", timeout=25_000)
    assert page.locator("[data-bar-time]").inner_text() != before
    page.fill("#args-cutoff_len", "256")
    expect(note).to_contain_text("rows are longer than cutoff_len 256:")
    take_picture(page, "form-measured")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(4000)
    assert not [url for url in asked if "estimates" in url], "what is measured is not asked for again"


def test_the_datasets_page_counts_with_a_chosen_model(reader: Reader, dataset: str) -> None:
    page = reader.open(f"/data/{dataset}#statistics")
    page.get_by_role("tab", name="Statistics").click()
    page.select_option("#profile-model", label="tiny")
    result = page.locator("[data-profile-result]")
    expect(result).to_contain_text("waiting its turn")
    assert do_chore()[1] == 0
    expect(result.locator(".histogram-bars li")).to_have_count(20)
    page.fill("#profile-cutoff", "256")
    cut = page.locator("[data-profile-cut]")
    expect(cut).to_contain_text("Rows longer than 256 tokens:")
    take_picture(page, "dataset-measured")
    page.fill("#profile-cutoff", "100000")
    expect(cut).to_contain_text("No row is longer than 100,000 tokens")


def test_a_tokenizer_that_cannot_be_used_is_told_of_and_can_be_tried_again(
    reader: Reader, dataset: str, tuneforge_home: Path
) -> None:
    place = tuneforge_home / "models" / "tiny" / "tokenizer.json"
    place.write_text("{}")
    page = reader.open(f"/data/{dataset}")
    page.get_by_role("tab", name="Statistics").click()
    page.select_option("#profile-model", label="tiny")
    result = page.locator("[data-profile-result]")
    expect(result).to_contain_text("waiting its turn")
    assert do_chore()[1] == 0
    expect(result).to_contain_text("could not be used to count", timeout=25_000)
    result.get_by_role("button", name="Try again").click()
    expect(result).to_contain_text("waiting its turn")
    with transaction() as session:
        assert sorted(chore.status for chore in session.query(Chore).where(Chore.kind == KIND)) == [
            "failed",
            "queued",
        ]
