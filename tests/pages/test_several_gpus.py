"""The fine-tune form of several GPUs: how a model is shared out over them, and jobs over several machines."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from backend.database import transaction
from backend.domain.protocol import PROTOCOL_VERSION, Registration
from backend.services import nodes
from tests.factories import build_devices, read_job
from tests.pages.conftest import Reader

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("catalogue_rows", "gpu_nodes")]


@pytest.fixture
def gpu_nodes(catalogue_rows: None) -> None:
    """Two nodes of two GPUs each; DeepSpeed is installed on both."""
    for name in ("gpu-1", "gpu-2"):
        message = Registration(
            protocol_version=PROTOCOL_VERSION,
            name=name,
            devices=build_devices(2, kind="h100-80g", name=name),
            versions={"deepspeed": "0.18.4"},
        )
        with transaction() as session:
            nodes.register(session, message)


def open_form(reader: Reader) -> Page:
    """Open the form with a model and data chosen; it takes the GPUs by itself."""
    page = reader.open("/train")
    page.check('input[value="talks"]')
    expect(page.locator("[data-bar-time]")).to_be_visible()
    expect(page.locator("[data-gpu-kinds] input:checked")).to_have_value("h100-80g")
    return page


def test_ways_of_sharing_out_are_offered_for_several_gpus_only(reader: Reader) -> None:
    page = open_form(reader)
    strategy = page.get_by_label("Multi-GPU strategy")
    expect(strategy).to_be_hidden()
    page.get_by_label("How many", exact=True).select_option("2")
    expect(strategy).to_be_visible()
    expect(page.locator("[data-strategy-hint]")).to_contain_text("the whole model")
    strategy.select_option(label="DeepSpeed ZeRO-3")
    expect(page.locator("[data-strategy-hint]")).to_contain_text("one GPU cannot hold the model")
    page.check("[data-gpu-kinds] input[value=cpu]")
    expect(strategy).to_be_hidden()


def test_a_job_over_two_machines_says_so_and_is_queued_as_asked(reader: Reader) -> None:
    page = open_form(reader)
    expect(page.locator("[data-gpu-count] option")).to_have_text(["1", "2", "4 (2 machines × 2)"])
    page.get_by_label("How many", exact=True).select_option("4")
    expect(page.locator("[data-count-hint]")).to_contain_text("equal shares")
    page.get_by_label("Multi-GPU strategy").select_option(label="DeepSpeed ZeRO-2 + offload")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/jobs/*")
    job = read_job(page.url.rpartition("/")[2].partition("#")[0])
    assert job.spec["resources"] == {"gpu_kind": "h100-80g", "gpu_count": 4, "max_nodes": 2}
    assert job.spec["args"]["deepspeed"] == "ds_z2_offload_config.json"
    assert list(job.launch["config_files"]) == ["ds_z2_offload_config.json"]


def test_a_choice_for_several_gpus_is_not_sent_for_one(reader: Reader) -> None:
    page = open_form(reader)
    page.get_by_label("How many", exact=True).select_option("2")
    page.get_by_label("Multi-GPU strategy").select_option(label="FSDP, full shard")
    page.get_by_label("How many", exact=True).select_option("1")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/jobs/*")
    job = read_job(page.url.rpartition("/")[2].partition("#")[0])
    assert "fsdp" not in job.spec["requested_args"]
    assert job.spec["resources"]["max_nodes"] == 1


def test_what_the_machines_lack_cannot_be_chosen_and_says_why(reader: Reader) -> None:
    page = open_form(reader)
    page.locator('input[name="mode"][value="expert"]').check(force=True)
    page.get_by_label("Search settings").fill("liger")
    liger = page.locator('[data-expert-fields] [data-field="args.enable_liger_kernel"]')
    expect(liger.locator("select")).to_be_disabled()
    expect(liger).to_have_attribute("title", re.compile("Needs the package liger-kernel"))
    page.get_by_label("Search settings").fill("flash_attn")
    choices = page.locator("#all-flash_attn option")
    expect(choices.and_(page.locator("[value=sdpa]"))).to_be_enabled()
    expect(choices.and_(page.locator("[value=fa2]"))).to_be_disabled()
