"""The forms in a real browser: estimate, faults at their fields, one job however often the button is pressed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from playwright.sync_api import Error, Page, Route, expect
from sqlalchemy import select

from backend.database import transaction
from backend.tables.job import Job
from tests.factories import build_devices, finish_job, read_job, register_node, write_attempt_file
from tests.pages.conftest import Reader, Run

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("catalogue_rows")]


def list_jobs() -> list[Job]:
    """Return all jobs, oldest first."""
    with transaction() as session:
        return list(session.scalars(select(Job).order_by(Job.id)))


def open_train_form(reader: Reader) -> Page:
    """Open the form with the one dataset that fits its model chosen."""
    page = reader.open("/train")
    page.check('input[value="talks"]')
    expect(page.locator("[data-bar-time]")).to_be_visible()
    return page


def test_only_fitting_data_is_offered_and_the_estimate_follows(reader: Reader) -> None:
    page = reader.open("/train")
    expect(page.locator("[data-bar-note]")).to_contain_text("Choose training data")
    expect(page.locator('input[value="films"]')).to_have_count(0)
    expect(page.locator("[data-datasets]")).to_contain_text("1 more does not fit this model")
    expect(page.locator("[data-swanlab-banner]")).to_be_visible()
    page.check('input[value="talks"]')
    expect(page.locator("[data-bar-cost]")).to_contain_text("¥")
    expect(page.locator("[data-bar-basis]")).to_have_text("modelled")
    page.fill("#args-gradient_accumulation_steps", "4")
    expect(page.locator("[data-global-batch]")).to_have_text("8 = 1 × 2 × 4")
    page.click("[data-bar-toggle]")
    expect(page.locator("[data-bar-details]")).to_contain_text("load the model")


def test_a_job_is_queued_once_with_what_was_changed(reader: Reader) -> None:
    page = open_train_form(reader)
    page.fill("#name", "from the form")
    page.fill("#args-learning_rate", "1e-4")
    page.fill("#args-cutoff_len", "512")
    page.check('input[name="finetuning_type"][value="full"]', force=True)
    expect(page.locator("#args-lora_rank")).to_be_hidden()
    # Two presses before the first is answered.
    page.evaluate("const b = document.querySelector('[data-submit]'); b.click(); b.form.requestSubmit();")
    page.wait_for_url("**/jobs/*")
    expect(page.locator("[data-job-name]")).to_have_text("from the form")
    [job] = list_jobs()
    assert job.spec["requested_args"] == {"learning_rate": 1e-4, "cutoff_len": 512}
    assert (job.spec["finetuning_type"], job.spec["datasets"]) == ("full", ["talks"])


def test_faults_stand_at_their_fields(reader: Reader) -> None:
    page = open_train_form(reader)
    rate = page.locator('[data-quick-fields] [data-field="args.learning_rate"] .field-error')
    page.fill("#args-learning_rate", "quick")
    expect(rate).to_contain_text("Give a number")
    page.click("[data-submit]")
    assert list_jobs() == []
    page.fill("#args-learning_rate", "5e-5")
    expect(rate).to_be_hidden()
    # A rule across fields, which only the server knows.
    page.check('input[name="mode"][value="expert"]', force=True)
    page.fill(".expert-tools input[type=search]", "load_best_model_at_end")
    page.select_option('[data-expert-fields] [data-field="args.load_best_model_at_end"] select', "true")
    expect(page.locator("[data-bar-note]")).to_contain_text("to change")
    page.click("[data-submit]")
    expect(page.locator(".toast.bad")).to_be_visible()
    assert list_jobs() == []


def test_every_argument_can_be_found_set_and_reset(reader: Reader) -> None:
    page = open_train_form(reader)
    page.check('input[name="mode"][value="expert"]', force=True)
    search = page.locator(".expert-tools input[type=search]")
    search.fill("neftune")
    field = page.locator('[data-expert-fields] [data-field="args.neftune_noise_alpha"]')
    expect(field).to_be_visible()
    expect(page.locator('[data-expert-fields] [data-field="args.seed"]')).to_be_hidden()
    field.locator("input").fill("5")
    search.fill("")
    page.get_by_label("Only changed").check()
    expect(page.locator("[data-expert-fields] .argument:visible")).to_have_count(1)
    page.click("[data-preview]")
    expect(page.get_by_role("dialog")).to_contain_text("neftune_noise_alpha: 5")
    page.get_by_role("button", name="Close").click()
    field.locator(".default-reset").click()
    page.click("[data-preview]")
    expect(page.get_by_role("dialog")).not_to_contain_text("neftune")


def test_settings_of_another_job_are_taken_over(reader: Reader) -> None:
    page = open_train_form(reader)
    page.fill("#args-learning_rate", "0.002")
    page.click("[data-submit]")
    page.wait_for_url("**/jobs/*")
    page.get_by_role("link", name="Reuse settings").click()
    page.wait_for_url("**/train?from=*")
    expect(page.locator("[data-reused-banner]")).to_be_visible()
    expect(page.locator("#args-learning_rate")).to_have_value("0.002")
    expect(page.locator('input[value="talks"]')).to_be_checked()
    page.click("[data-reset]")
    expect(page.locator("#args-learning_rate")).to_have_value("5e-5")


def test_an_evaluation_is_filled_from_a_job_and_brings_the_untouched_model(
    reader: Reader, start_run: Callable[..., Run]
) -> None:
    run = start_run(name="tuned one", spec={"args": {"cutoff_len": 512}})
    for name in ("adapter_model.safetensors", "checkpoint-4/adapter_model.safetensors"):
        write_attempt_file(run.job_id, 1, f"output/{name}", b"weights")
    files = [
        {"name": name, "size_bytes": 7}
        for name in ("adapter_model.safetensors", "checkpoint-4/adapter_model.safetensors")
    ]
    finish_job(run.order, artifacts=files)
    assert read_job(run.job_id).status == "succeeded"
    page = reader.open(f"/evaluate?job={run.job_id}")
    expect(page.locator("#subject option:checked")).to_contain_text("tuned one")
    expect(page.locator("#checkpoint option")).to_have_text(["The final result", "checkpoint-4"])
    expect(page.locator("#model")).to_be_disabled()
    expect(page.locator("#args-cutoff_len")).to_have_value("512")
    page.check('input[value="talks"]')
    expect(page.locator("[data-training-data-note]")).to_contain_text("was trained on talks")
    page.select_option("#checkpoint", "4")
    expect(page.locator("[data-bar-time]")).to_be_visible()
    page.click("[data-submit]")
    page.wait_for_url("**/jobs?kind=evaluate")
    adapters = [job.spec["adapter"] for job in list_jobs() if job.kind == "evaluate"]
    assert adapters == [f"{run.job_id}:checkpoint-4", None]


def test_other_numbers_of_devices_are_compared_and_taken_over_with_one_click(reader: Reader) -> None:
    register_node("node-4", build_devices(4, kind="h200", name="gpu"))
    page = open_train_form(reader)
    page.check('input[name="gpu-kind"][value="h200"]', force=True)
    page.click("[data-bar-toggle]")
    choices = page.locator(".count-choices tr")
    expect(choices).to_have_count(3)
    expect(choices.nth(0)).to_contain_text("chosen")
    expect(choices.nth(0)).to_contain_text("cheapest")
    choices.nth(2).locator("button").click()
    expect(choices.nth(2)).to_contain_text("chosen")
    expect(page.locator("#args-gradient_accumulation_steps")).to_have_value("2")
    expect(page.locator("[data-global-batch]")).to_have_text("16 = 4 × 2 × 2")


def test_tiers_prices_stand_side_by_side_with_their_range_and_basis(reader: Reader) -> None:
    page = open_train_form(reader)
    page.click("[data-bar-toggle]")
    prices = page.locator(".tier-prices")
    expect(prices.locator("thead th")).to_have_text(["Express", "Flex", "Spot"])
    expect(prices.locator(".badge")).to_have_text("modelled")
    expect(prices.locator("tbody tr")).to_have_count(2)
    amounts = [
        float(text.lstrip("¥")) for text in prices.locator("tbody tr").nth(0).locator("td").all_inner_texts()
    ]
    assert amounts == sorted(amounts, reverse=True)
    assert amounts[0] > amounts[2]
    expect(prices.locator("tbody tr").nth(1).locator("td").first).to_contain_text("–")


# What the form writes down of itself: when the field changed, and when the foot of the form showed the answer.
WATCH = """() => {
  window.spans = [];
  let changedAt = null;
  document.querySelector("#args-cutoff_len").addEventListener("input", () => { changedAt = performance.now(); });
  new MutationObserver(() => {
    const busy = document.querySelector("[data-estimate-bar]").classList.contains("busy");
    if (!busy && changedAt !== null) { window.spans.push(performance.now() - changedAt); changedAt = null; }
  }).observe(document.querySelector("[data-estimate-bar]"), { attributes: true, attributeFilter: ["class"] });
}"""


def test_what_is_typed_stays_and_the_last_change_wins_whatever_comes_late(reader: Reader) -> None:
    page = open_train_form(reader)
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if (route.request.post_data_json or {})["args"].get("num_train_epochs") == 1:
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/v1/estimates", hold_the_first)
    page.click("[data-bar-toggle]")
    epochs = page.locator("#args-num_train_epochs")
    epochs.fill("1")
    while not held:
        page.wait_for_timeout(20)
    # The first answer is still on its way: typing goes on, and a later change is answered first.
    epochs.fill("")
    epochs.press_sequentially("12", delay=30)
    expect(epochs).to_have_value("12")
    samples = page.locator("[data-bar-details]").get_by_text("96", exact=True)
    expect(samples).to_be_visible()
    with suppress(Error):  # the form has given it up
        held[0].continue_()
    page.wait_for_timeout(300)
    expect(samples).to_be_visible()
    expect(epochs).to_have_value("12")
    expect(epochs).to_be_focused()


def test_the_estimate_follows_every_change(reader: Reader) -> None:
    """Prints how long the answers took; how fast a machine is busy with tests says nothing, so it is not judged."""
    page = open_train_form(reader)
    page.evaluate(WATCH)
    for length in range(512, 1024, 64):
        page.fill("#args-cutoff_len", str(length))
        while page.evaluate("window.spans.length") < (length - 512) // 64 + 1:
            page.wait_for_timeout(20)
    spans = sorted(page.evaluate("window.spans"))
    print(
        f"from a change to its estimate: median {spans[len(spans) // 2]:.0f} ms, slowest {spans[-1]:.0f} ms"
    )
