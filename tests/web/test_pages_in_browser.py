"""The account, the overview, the job centre and the administrator's page in a real Chromium, without jobs that train."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from backend.app import build_app
from backend.database import transaction
from backend.services import jobs, users
from backend.tables.job import Job
from backend.tables.user import User
from tests.conftest import CHROMIUM_FLAGS, find_free_port
from tests.factories import PASSWORD, finish_job, make_user, read_job, register_node, start_job, submit_job

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(migrated_database: str) -> Iterator[str]:
    """The web application on a port of its own; gives its address."""
    port = find_free_port()
    server = uvicorn.Server(uvicorn.Config(build_app(), host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(15)


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """One Chromium for all tests here."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_FLAGS)
        yield started
        started.close()


@pytest.fixture
def open_browser(server: str, browser: Browser, database: None) -> Iterator[Callable[..., Page]]:
    """Opens a window, `open_browser(locale, width)`; afterwards no script may have failed or been refused."""
    errors: list[str] = []
    contexts = []

    def open_window(locale: str = "en-GB", width: int = 1440) -> Page:
        size = {"width": width, "height": 900 if width > 500 else 844}
        context = browser.new_context(
            base_url=server,
            locale=locale,
            viewport=size,
            reduced_motion="reduce",  # type: ignore[arg-type]
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        return page

    yield open_window
    for context in contexts:
        context.close()
    # Chromium writes refused requests (a wrong password's 401) to the console too; those are no faults of ours.
    assert [error for error in errors if not re.search(r"responded with a status of (4|503)", error)] == []


def sign_in(page: Page, username: str) -> None:
    """Sign in by the form."""
    page.goto("/login")
    page.locator("#username").fill(username)
    page.locator("#password").fill(PASSWORD)
    page.locator("main button[type=submit]").click()
    page.wait_for_url("**/")


def shoot(page: Page, name: str, tmp_path: Path) -> None:
    """Keep a picture of the page, and see that it is not wider than the window."""
    folder = Path(os.environ.get("TUNEFORGE_TEST_SHOTS", tmp_path))
    page.screenshot(path=folder / f"{name}.png")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is too wide"


def test_from_registering_to_signing_out(open_browser: Callable[..., Page], tmp_path: Path) -> None:
    page = open_browser("zh-CN")
    page.goto("/jobs?kind=evaluate")
    page.wait_for_url("**/login?next=*")
    shoot(page, "sign-in", tmp_path)
    page.get_by_role("link", name="注册").click()
    page.locator("#username").fill("mei")
    page.locator("#password").fill(PASSWORD)
    page.locator("#repeated").fill(PASSWORD)
    page.get_by_role("button", name="注册并登录").click()
    page.wait_for_url("**/jobs?kind=evaluate")
    expect(page.get_by_text("还没有评估任务")).to_be_visible()
    page.get_by_role("link", name="总览").click()
    expect(page.get_by_text("当前没有在线的计算节点")).to_be_visible()
    expect(page.get_by_text("还没有任务。用自带的演示模型")).to_be_visible()
    shoot(page, "overview", tmp_path)
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", name="Fine-tune models on your own GPUs")).to_be_visible()
    page.goto("/account")
    # the choice is kept with the account
    expect(page.locator("#language")).to_have_value("en")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    page.goto("/account")
    page.wait_for_url("**/login?next=%2Faccount")


def test_tokens_and_password(open_browser: Callable[..., Page], tmp_path: Path) -> None:
    make_user("ann")
    page = open_browser()
    sign_in(page, "ann")
    page.goto("/account")
    page.locator("#token-name").fill("<b>script</b>")
    page.get_by_role("button", name="Create token").click()
    shown = page.locator("#new-token-text")
    expect(shown).to_have_value(re.compile(r"^tf_.{40}$"))
    token = shown.input_value()
    answer = page.request.get("/api/v1/me", headers={"authorization": f"Bearer {token}", "cookie": ""})
    assert answer.json()["username"] == "ann"
    shoot(page, "account", tmp_path)
    page.reload()
    expect(page.locator("#tokens li")).to_contain_text("<b>script</b>")
    expect(page.locator("#new-token")).to_be_hidden()
    assert token not in page.content()
    page.get_by_role("button", name="Delete the token").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No tokens yet.")).to_be_visible()

    page.locator("#current_password").fill("not my password")
    page.locator("#new_password").fill("another password")
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_text("this is not your present password")).to_be_visible()
    page.locator("#current_password").fill(PASSWORD)
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_text("Password changed.")).to_be_visible()


def test_an_unreachable_swanlab_says_what_to_do(open_browser: Callable[..., Page], tmp_path: Path) -> None:
    make_user("ann")
    page = open_browser("zh-CN")
    sign_in(page, "ann")
    page.goto("/account")
    status = page.locator("[data-swanlab-status]")
    expect(status).to_have_text("未配置")
    page.locator("#api_key").fill("short")
    page.get_by_role("button", name="校验并保存").click()
    expect(status).to_have_text("密钥无效")
    expect(page.get_by_text("请到 SwanLab 设置页重新复制")).to_be_visible()
    key = "abcdefghijk0123456789"
    page.locator("#api_key").fill(key)
    page.get_by_text("自建 SwanLab 或指定空间").click()
    page.locator("#host").fill("ftp://x")
    page.get_by_role("button", name="校验并保存").click()
    expect(page.locator('[data-fault="host"]')).to_contain_text("需以 https://")
    page.locator("#host").fill(f"http://127.0.0.1:{find_free_port()}")
    page.get_by_role("button", name="校验并保存").click()
    expect(status).to_have_text("尚未校验")
    expect(page.get_by_text("密钥已保留，使用前会再次校验")).to_be_visible()
    expect(page.locator('[data-swanlab="masked_key"]')).to_contain_text("abc•")
    assert key not in page.content()
    shoot(page, "swanlab", tmp_path)
    page.get_by_role("button", name="移除密钥").click()
    page.get_by_role("dialog").get_by_role("button", name="移除").click()
    expect(status).to_have_text("未配置")


def test_the_job_centre_is_live(open_browser: Callable[..., Page], tmp_path: Path) -> None:
    ann = make_user("ann")
    register_node()
    running = start_job(ann, name="moves <i>on</i>")
    waiting = submit_job(ann, name="waits")
    page = open_browser()
    sign_in(page, "ann")
    page.goto("/jobs")
    card = page.locator(f'[data-job="{running.job_id}"]')
    expect(card).to_contain_text("moves <i>on</i>")
    expect(card.locator(".status")).to_have_text("Running")
    with transaction() as session:
        job = session.get_one(Job, running.job_id)
        job.phase, job.step, job.total_steps, job.eta_seconds = "training", 5, 10, 65.0
    expect(card).to_contain_text("training · 5/10 steps · 1 min 5 s left")
    expect(card.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
    expect(page.get_by_role("button", name="Running (1)")).to_be_visible()
    shoot(page, "job-centre", tmp_path)

    page.get_by_role("button", name="Queued (1)").click()
    expect(page.locator(".job-card")).to_have_count(1)
    assert page.url.endswith("status=queued")
    page.locator(f'[data-job="{waiting}"]').get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(page.get_by_text("No job matches these filters.")).to_be_visible()
    assert read_job(waiting).status == "cancelled"
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.locator(".job-card")).to_have_count(2)
    page.locator("#search").fill("wai")
    expect(page.locator(".job-card")).to_have_count(1)
    page.reload()
    # the address keeps what was asked
    expect(page.locator("#search")).to_have_value("wai")
    page.locator(f'[data-job="{waiting}"]').get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No job matches these filters.")).to_be_visible()

    finish_job(running)
    page.locator("#search").fill("")
    expect(card.locator(".status")).to_have_text("Succeeded")
    expect(card.get_by_role("link", name="Evaluate")).to_have_attribute(
        "href", f"/evaluate?job={running.job_id}"
    )


def test_two_evaluations_are_chosen_to_compare(open_browser: Callable[..., Page]) -> None:
    ann = make_user("ann")
    register_node()
    done = []
    for name in ("untouched", "tuned"):
        order = start_job(ann, name=name, kind="evaluate", spec={"adapter": None})
        finish_job(order)
        done.append(order.job_id)
    page = open_browser(width=390)
    sign_in(page, "ann")
    page.goto("/jobs")
    page.get_by_role("tab", name="Evaluation").click()
    page.get_by_role("checkbox", name="“untouched”").check()
    expect(page.get_by_text("choose one more to compare")).to_be_visible()
    expect(page.get_by_role("button", name="Compare")).to_be_disabled()
    page.get_by_role("checkbox", name="“tuned”").check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url(f"**/compare?jobs={','.join(done)}")


def test_more_jobs_than_a_page(open_browser: Callable[..., Page]) -> None:
    ann = make_user("ann")
    for number in range(23):
        submit_job(ann, name=f"job-{number}")
    page = open_browser()
    sign_in(page, "ann")
    page.goto("/jobs")
    expect(page.locator(".job-card")).to_have_count(20)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".job-card")).to_have_count(23)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_an_administrator_drains_stops_and_shuts_out(
    open_browser: Callable[..., Page], tmp_path: Path
) -> None:
    ann, _ = make_user("ann"), make_user("chief", role="administrator")
    register_node()
    order = start_job(ann, name="anns")
    page = open_browser()
    sign_in(page, "chief")
    page.get_by_role("link", name="Platform").click()
    node = page.locator('[data-node="node-1"]')
    expect(node).to_contain_text("Busy")
    node.get_by_role("button", name="Drain").click()
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    expect(node.locator(".status")).to_have_text("Draining")
    shoot(page, "platform", tmp_path)
    node.get_by_role("button", name="Return to service").click()
    expect(node.locator(".status")).to_have_text("Online")

    page.get_by_role("tab", name="All jobs").click()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(page.locator("#job-table .status")).to_have_text("Stopping")
    assert read_job(order.job_id).stop_requested_at is not None

    page.get_by_role("tab", name="Users").click()
    row = page.get_by_role("row", name=re.compile("^ann "))
    row.get_by_role("button", name="Deactivate").click()
    page.get_by_role("dialog").get_by_role("button", name="Deactivate").click()
    expect(row).to_contain_text("Activate")
    row.get_by_role("button", name="Activate").click()
    expect(row).to_contain_text("Active")


def test_an_administrator_reads_what_was_used(open_browser: Callable[..., Page], tmp_path: Path) -> None:
    ann, _ = make_user("ann"), make_user("chief", role="administrator")
    register_node()
    finish_job(start_job(ann), run_seconds=7200.0)
    start_job(ann, tier="spot")
    page = open_browser()
    sign_in(page, "chief")
    page.goto("/admin#usage")
    row = page.get_by_role("row", name=re.compile("^ann "))
    expect(row).to_contain_text("2 device hours")
    expect(row).to_contain_text("counted so far")
    # bars are drawn: the canvas holds the chart's colour
    drawn = """() => {
        const canvas = document.querySelector("#usage-chart canvas");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let blue = 0;
        for (let i = 0; i < pixels.length; i += 4) {
            if (pixels[i] === 0x35 && pixels[i + 1] === 0x55 && pixels[i + 2] === 0xc9) blue += 1;
        }
        return blue > 200;
    }"""
    page.wait_for_function(drawn)
    shoot(page, "usage", tmp_path)
    page.get_by_role("button", name="By tier").click()
    expect(page.locator("#usage-table tbody tr")).to_have_count(2)
    expect(page.get_by_role("row", name=re.compile("^Spot "))).to_be_visible()


def test_an_administrator_reads_who_did_what(open_browser: Callable[..., Page], tmp_path: Path) -> None:
    ann, chief_id = make_user("ann"), make_user("chief", role="administrator")
    job_id = submit_job(ann, name="<b>anns</b>")
    with transaction() as session:
        chief = session.get_one(User, chief_id)
        for weight in range(1, 6):
            for _ in range(8):
                users.change_user(session, chief, ann, share_weight=weight)
    page = open_browser("zh-CN", width=390)
    sign_in(page, "chief")
    page.goto("/admin#audit")
    rows = page.locator("#audit-table tbody tr")
    expect(rows).to_have_count(30)
    expect(page.get_by_role("tab", name="操作记录")).to_be_in_viewport(ratio=0.9)
    page.get_by_role("button", name="显示更多").click()
    expect(rows).to_have_count(42)
    expect(page.locator("#more-audit")).to_be_hidden()
    shoot(page, "audit", tmp_path)
    page.locator("#audit-user").fill("ann")
    expect(rows).to_have_count(1)
    expect(page.get_by_role("link", name="<b>anns</b>")).to_have_attribute("href", f"/jobs/{job_id}")
    page.locator("#audit-action").select_option("session.started")
    expect(page.get_by_text("没有符合条件的记录。")).to_be_visible()
    page.locator("#audit-user").fill("")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("chief")
    expect(rows).to_contain_text("127.0.0.1")


def test_many_users_are_shown_by_and_by(open_browser: Callable[..., Page]) -> None:
    for number in range(60):
        make_user(f"user-{number}")
    make_user("chief", role="administrator")
    page = open_browser()
    sign_in(page, "chief")
    page.goto("/admin#users")
    expect(page.locator("#users tbody tr")).to_have_count(50)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#users tbody tr")).to_have_count(61)
    expect(page.locator("#more-users")).to_be_hidden()


def test_what_was_used_is_money_and_no_debt(open_browser: Callable[..., Page]) -> None:
    ann = make_user("ann")
    with transaction() as session:
        session.get_one(User, ann).balance_e4 = -123_400
    page = open_browser()
    sign_in(page, "ann")
    expect(page.locator("#balance")).to_have_text("Used so far ¥12.34")
    page.goto("/account")
    expect(page.locator("[data-me=balance-label]")).to_have_text("Used so far")
    expect(page.locator("[data-me=balance]")).to_have_text("¥12.34")
    with transaction() as session:
        session.get_one(User, ann).balance_e4 = 50_000
    page.reload()
    expect(page.locator("[data-me=balance-label]")).to_have_text("Balance")
    expect(page.locator("[data-me=balance]")).to_have_text("¥5.00")


def test_a_token_whose_answer_was_lost_is_not_made_twice(open_browser: Callable[..., Page]) -> None:
    make_user("ann")
    page = open_browser()
    sign_in(page, "ann")
    page.goto("/account")

    def lose(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        assert route.fetch().status == 201
        route.fulfill(status=503, body="lost on the way")

    page.route("**/api/v1/tokens", lose)
    page.locator("#token-name").fill("ci")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_text("The server answered 503")).to_be_visible()
    page.unroute("**/api/v1/tokens")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_text("cannot be shown again; if you lost it")).to_be_visible()
    expect(page.locator("#new-token")).to_be_hidden()
    expect(page.locator("#tokens li")).to_have_count(1)


def test_the_drawer_of_a_phone(open_browser: Callable[..., Page], tmp_path: Path) -> None:
    make_user("ann")
    page = open_browser(width=390)
    sign_in(page, "ann")
    link = page.get_by_role("link", name="Account").and_(page.locator(".sidebar a"))
    expect(link).to_be_hidden()
    page.get_by_role("button", name="Open the navigation").click()
    expect(link).to_be_in_viewport()
    shoot(page, "drawer", tmp_path)
    page.keyboard.press("Escape")
    expect(link).to_be_hidden()
    page.get_by_role("button", name="Open the navigation").click()
    link.click()
    page.wait_for_url("**/account")
    shoot(page, "account-phone", tmp_path)


def test_a_server_that_is_away_is_said_and_caught_up_with(open_browser: Callable[..., Page]) -> None:
    ann = make_user("ann")
    job_id = submit_job(ann, name="waits")
    page = open_browser()
    sign_in(page, "ann")
    page.goto("/jobs")
    expect(page.locator(".job-card")).to_have_count(1)
    page.route("**/api/v1/jobs*", lambda route: route.fulfill(status=503, body="away"))
    expect(page.get_by_text("Cannot reach the server; retrying.")).to_be_visible()
    # what was there stays
    expect(page.locator(".job-card")).to_have_count(1)
    with transaction() as session:
        jobs.rename(session, session.get_one(Job, job_id).owner, job_id, "renamed meanwhile")
    page.unroute("**/api/v1/jobs*")
    expect(page.get_by_text("renamed meanwhile")).to_be_visible()
    expect(page.get_by_text("Cannot reach the server")).to_be_hidden()
