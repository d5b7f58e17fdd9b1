"""A job's page in a real browser: live, complete and exactly once, whatever happens to the connection."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.factories import finish_job, read_job, submit_job, write_attempt_file
from tests.pages.conftest import RESOURCES, Reader, Run, WebServer, wait_until

pytestmark = pytest.mark.browser

StartRun = Callable[..., Run]


def read_lines(page: Page) -> list[str]:
    """Return the lines of the log as they stand in the page."""
    lines = page.locator("[data-log-lines] .log-line").all_text_contents()
    return [line for line in lines if line]


def expect_lines(page: Page, wanted: list[str]) -> None:
    """Wait for the last line, then compare all of them."""
    wait_until(lambda: read_lines(page)[-1:] == wanted[-1:], f"the log shows {wanted[-1]!r}")
    assert read_lines(page) == wanted


def test_log_points_and_state_move_without_reloading(reader: Reader, start_run: StartRun) -> None:
    run = start_run(name="live one")
    run.write("begin\n")
    page = reader.open(f"/jobs/{run.job_id}#log")
    expect(page.locator("[data-job-status]")).to_have_text("Running")
    expect_lines(page, ["begin"])
    run.write("\r 10%|#  |\r 90%|## |")
    run.report(3, 10, loss=1.25, learning_rate=5e-5)
    expect_lines(page, ["begin", " 90%|## |"])
    expect(page.locator("[data-progress-steps]")).to_have_text("3 / 10 steps · 30%")
    run.write("\r          \r{'loss': 1.25}\n")
    expect_lines(page, ["begin", "{'loss': 1.25}"])
    page.get_by_role("tab", name="Tracking").click()
    expect(page.locator('[data-chart="loss"] [data-chart-last]')).to_have_text("1.25")
    run.report(4, 10, loss=1.125)
    expect(page.locator('[data-chart="loss"] [data-chart-last]')).to_have_text("1.125")
    expect(page.locator('[data-chart="loss"] canvas')).to_be_visible()
    finish_job(run.order, step=10, total_steps=10, results={"train_loss": 1.1})
    expect(page.locator("[data-job-status]")).to_have_text("Succeeded")
    page.get_by_role("tab", name="Results").click()
    expect(page.locator("[data-results]")).to_contain_text("train_loss")
    expect(page.get_by_role("link", name="Evaluate", exact=True).last).to_be_visible()


def test_nothing_is_lost_or_doubled_when_the_server_restarts(
    reader: Reader, start_run: StartRun, web_server: WebServer
) -> None:
    run = start_run()
    wanted = [f"line {number} 损失" for number in range(400)]
    run.write("\n".join(wanted[:100]) + "\n")
    page = reader.open(f"/jobs/{run.job_id}#log")
    expect_lines(page, wanted[:100])
    expect(page.locator("[data-connection]")).to_have_text("Live")
    web_server.stop()
    expect(page.locator("[data-connection]")).to_have_text("Reconnecting…")
    run.write("\n".join(wanted[100:250]) + "\nline 250")
    run.report(5, 10, loss=2.0)
    web_server.start()
    expect(page.locator("[data-connection]")).to_have_text("Live", timeout=40_000)
    expect_lines(page, [*wanted[:250], "line 250"])
    run.write(" 损失\n" + "\n".join(wanted[251:]) + "\n")
    expect_lines(page, wanted)
    page.get_by_role("tab", name="Tracking").click()
    expect(page.locator('[data-chart="loss"] [data-chart-last]')).to_have_text("2")


def test_a_page_that_is_closed_and_opened_again_shows_all(reader: Reader, start_run: StartRun) -> None:
    run = start_run()
    run.write("one\n")
    page = reader.open(f"/jobs/{run.job_id}#log")
    expect_lines(page, ["one"])
    page.goto("about:blank")
    run.write("two\n")
    run.report(2, 4, loss=3.0)
    page = reader.open(f"/jobs/{run.job_id}#log")
    expect_lines(page, ["one", "two"])
    run.write("three\n")
    expect_lines(page, ["one", "two", "three"])
    page.reload()
    expect_lines(page, ["one", "two", "three"])
    expect(page.locator("[data-progress-steps]")).to_have_text("2 / 4 steps · 50%")


def test_a_long_log_opens_at_its_end_and_loads_what_was_before(reader: Reader, start_run: StartRun) -> None:
    run = start_run()
    wanted = [f"{number:06d} 一些文字" for number in range(30_000)]
    run.write("\n".join(wanted) + "\n")
    page = reader.open(f"/jobs/{run.job_id}#log")
    wait_until(lambda: read_lines(page)[-1:] == wanted[-1:], "the end of the log")
    shown = read_lines(page)
    assert len(shown) <= 2000
    assert shown == wanted[-len(shown) :]
    earlier = page.locator("[data-log-earlier]")
    while len(shown) < 9000:
        count = len(shown)
        earlier.click()
        wait_until(lambda count=count: len(read_lines(page)) > count, "earlier lines")
        shown = read_lines(page)
        assert shown == wanted[-len(shown) :]
    expect(page.locator("[data-log-follow]")).not_to_be_checked()
    page.fill("[data-log-search]", "029990")
    expect(page.locator("[data-log-found]")).to_contain_text("1/1")
    expect(page.locator(".log-line.current")).to_have_text("029990 一些文字")
    with page.expect_download() as download:
        page.click("[data-log-download]")
    assert download.value.path().read_text("utf-8").splitlines() == wanted


def test_names_and_lines_are_text_however_they_look(reader: Reader, start_run: StartRun) -> None:
    hostile = "<img src=x onerror=document.title='owned'>"
    run = start_run(name=hostile)
    run.write(f"{hostile}\n")
    page = reader.open(f"/jobs/{run.job_id}#log")
    expect(page.locator("[data-job-name]")).to_have_text(hostile)
    expect_lines(page, [hostile])
    assert page.locator("main img").count() == 0
    assert "owned" not in page.title().replace(hostile, "")


def test_a_failed_job_says_what_to_do(reader: Reader, start_run: StartRun) -> None:
    run = start_run()
    finish_job(run.order, "out_of_memory", detail="CUDA out of memory", log_excerpt="the last line", step=3)
    page = reader.open(f"/jobs/{run.job_id}")
    error = page.locator("[data-job-error]")
    expect(error).to_contain_text("Out of memory")
    expect(error).to_contain_text("Lower per_device_train_batch_size")
    expect(error).to_contain_text("the last line")
    page.click('a[data-language="zh"]')
    expect(page.locator("[data-job-error]")).to_contain_text("内存或显存不足")


def test_rename_stop_resume_and_delete(reader: Reader, start_run: StartRun) -> None:
    run = start_run(name="first name")
    page = reader.open(f"/jobs/{run.job_id}")
    page.click("[data-rename]")
    page.fill("[data-rename-input]", "second name")
    page.keyboard.press("Enter")
    expect(page.locator("[data-job-name]")).to_have_text("second name")
    page.click('[data-action="stop"]')
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(page.locator("[data-job-status]")).to_have_text("Stopping")
    write_attempt_file(run.job_id, 1, "output/checkpoint-4/trainer_state.json", b"{}")
    finish_job(run.order, "user_cancelled", step=4, total_steps=10, checkpoint_step=4)
    expect(page.locator("[data-job-status]")).to_have_text("Stopped")
    page.click('[data-action="resume"]')
    expect(page.locator("[data-job-status]")).to_have_text(re.compile("Queued|Starting"))
    assert read_job(run.job_id).attempt == 2
    expect(page.locator("[data-connection]")).to_have_text("Live")
    page.click('[data-action="stop"]')
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(page.locator("[data-job-status]")).to_have_text("Stopped")
    page.click('[data-action="delete"]')
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/jobs?kind=train")


def test_a_job_deleted_elsewhere_is_said_to_be_gone(reader: Reader, web_server: WebServer) -> None:
    job_id = submit_job(reader.id, spec={"resources": RESOURCES})
    page = reader.open(f"/jobs/{job_id}")
    expect(page.locator("[data-connection]")).to_have_text("Live")
    api = reader.context.request
    token = page.locator('meta[name="csrf-token"]').get_attribute("content") or ""
    headers = {"X-CSRF-Token": token}
    assert api.post(f"{web_server.url}/api/v1/jobs/{job_id}/stop", headers=headers).ok
    page.goto("about:blank")
    assert api.delete(f"{web_server.url}/api/v1/jobs/{job_id}", headers=headers).ok
    reader.open(f"/jobs/{job_id}")
    expect(page.get_by_role("heading").first).to_be_visible()
    assert "404" in page.content() or "not found" in page.content().lower()
