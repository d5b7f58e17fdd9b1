"""What a node says is installed, and a run that needs what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from backend import storage
from tests.factories import make_user, submit_job
from tests.worker.conftest import Node, run_to_end
from worker.versions import find_lack, read_versions


@pytest.fixture
def flash_attention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of that name, as pip leaves it."""
    folder = tmp_path / "flash_attn-2.8.3.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: flash_attn\nVersion: 2.8.3\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_optional_packages_are_reported_where_they_are_installed() -> None:
    found = read_versions()
    assert {"torch", "llamafactory", "liger-kernel", "deepspeed"} <= found.keys()
    assert "flash-attn" not in found


@pytest.mark.usefixtures("flash_attention")
def test_one_that_was_added_is_reported_too() -> None:
    assert read_versions()["flash-attn"] == "2.8.3"
    assert find_lack("flash_attn: fa2") is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("flash_attn: fa2", "flash_attn needs the package flash-attn"),
        ("quantization_bit: 4", "quantization_bit needs the package bitsandbytes"),
        ("quantization_bit: 8\nquantization_method: hqq", "quantization_bit needs the package hqq"),
        ("optim: paged_adamw_8bit", "optim needs the package bitsandbytes"),
        ("quantization_method: hqq", None),
        ("enable_liger_kernel: true\ndeepspeed: ds_z2_config.json\nflash_attn: sdpa", None),
        ("{}", None),
    ],
)
def test_what_a_configuration_needs_is_looked_for(config: str, said: str | None) -> None:
    found = find_lack(config)
    assert (said in (found or "")) if said else found is None


def test_a_run_without_its_package_ends_before_it_starts_and_says_so(
    start_node: Callable[..., Node], submit_fake: Callable[..., str]
) -> None:
    start_node()
    config = yaml.safe_dump({"flash_attn": "fa2", "fake": {"steps": 3}})
    job = run_to_end(submit_job(make_user("bob"), config_yaml=config))
    assert (job.status, job.end_reason, job.step) == ("failed", "bad_config", 0)
    assert "flash_attn needs the package flash-attn, which this node does not have" in str(job.error)
    assert not (storage.get_attempt_folder(job.id, 1) / "train.yaml").exists()
    assert run_to_end(submit_fake(steps=2)).status == "succeeded"
