"""Jobs side by side in a real browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.factories import finish_job
from tests.pages.conftest import Reader, Run, write_predictions

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("catalogue_rows")]

LABELS = [f"答案 {index}" for index in range(8)]


def evaluate(start_run: Callable[..., Run], name: str, answers: list[str], adapter: str | None) -> Run:
    """Leave a finished evaluation of the dataset `talks`."""
    run = start_run(kind="evaluate", name=name, spec={"kind": "evaluate", "adapter": adapter})
    write_predictions(run, [("?", answer, label) for answer, label in zip(answers, LABELS, strict=True)])
    right = sum(answer == label for answer, label in zip(answers, LABELS, strict=True))
    finish_job(run.order, results={"predict_bleu-4": 10.0 * right, "predict_runtime": 5.0})
    return run


def test_two_evaluations_row_by_row(reader: Reader, start_run: Callable[..., Run]) -> None:
    untouched = evaluate(start_run, "untouched", ["I see", LABELS[1], *["?"] * 6], None)
    tuned = evaluate(start_run, "tuned", [LABELS[0], "答按 1", *LABELS[2:7], "?"], "06h0vqmk9ybp6m8cq8ft")
    page = reader.open(f"/compare?jobs={untouched.job_id},{tuned.job_id}")
    summary = page.locator("[data-summary]")
    expect(summary).to_contain_text("12.5% (1/8)")
    expect(summary).to_contain_text("75% (6/8)")
    expect(summary.locator(".difference.better")).to_have_count(2)
    rows = page.locator(".answer-row")
    expect(rows).to_have_count(8)
    first = rows.first
    expect(first).to_contain_text("What is in picture 0?")
    assert (
        first.locator("img").evaluate("async image => { await image.decode(); return image.naturalWidth }")
        == 1
    )
    expect(first.locator(".mark.right")).to_have_count(1)
    expect(rows.nth(1).locator(".answer-text mark")).to_have_text("按")
    page.get_by_text("Only the first is wrong").click()
    expect(rows).to_have_count(6)
    page.get_by_text("Only the first is right").click()
    expect(rows).to_have_count(1)
    page.get_by_text("Answers differ").click()
    expect(rows).to_have_count(7)
    expect(page.locator(".answer-row .question").last).to_contain_text("#7")


def test_train_jobs_by_curves_and_differing_settings(reader: Reader, start_run: Callable[..., Run]) -> None:
    runs = []
    for name, rank in (("small", 8), ("large", 64)):
        run = start_run(name=name, spec={"args": {"lora_rank": rank, "seed": 42}})
        for step in range(1, 5):
            run.report(step, 4, loss=4.0 / step)
        finish_job(run.order, results={"train_loss": 8.0 / rank})
        runs.append(run)
    page = reader.open(f"/compare?jobs={runs[0].job_id},{runs[1].job_id}")
    summary = page.locator("[data-summary]")
    expect(summary.locator(".argument-row")).to_have_count(1)
    expect(summary).to_contain_text("lora_rank")
    expect(page.locator('[data-curve="loss"] canvas')).to_be_visible()
    expect(page.locator('[data-curve="eval_loss"]')).to_be_hidden()
    summary.get_by_role("button", name="Take small out").click()
    page.wait_for_url(f"**/compare?jobs={runs[1].job_id}")


def test_jobs_are_chosen_and_other_kinds_are_refused(reader: Reader, start_run: Callable[..., Run]) -> None:
    one = evaluate(start_run, "one", LABELS, None)
    two = evaluate(start_run, "two", ["?"] * 8, None)
    page = reader.open("/compare")
    page.get_by_role("button", name="Compare evaluations").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("one", exact=True).click()
    dialog.get_by_text("two", exact=True).click()
    dialog.get_by_role("button", name="Compare").click()
    page.wait_for_url("**/compare?jobs=*")
    assert set(page.url.split("jobs=")[1].split(",")) == {one.job_id, two.job_id}
    train = start_run(name="a train job")
    finish_job(train.order)
    page = reader.open(f"/compare?jobs={one.job_id},{train.job_id}")
    expect(page.locator("[data-nothing-text]")).to_contain_text("compare evaluations with each other")
