"""Optional packages over HTTP: nodes say what they have; arguments, advice and the form's answers go by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.database import transaction
from backend.domain.packages import OPTIONAL_PACKAGES
from backend.domain.published_models import find_published_config
from backend.services import catalogue
from tests.factories import Person, make_model, make_own_dataset
from tests.web.test_several_gpus import build_body, list_problems, register

pytestmark = pytest.mark.usefixtures("platform")

ALL = {"liger-kernel": "0.8.5", "flash-attn": "2.8.3", "bitsandbytes": "0.50.2", "deepspeed": "0.18.4"}


def register_all_but(name: str, *missing: str, kind: str = "h100-80g") -> None:
    """Register a node of two GPUs with all of `ALL` that is not `missing`."""
    versions = {package: version for package, version in ALL.items() if package not in missing}
    register(name, 2, kind=kind, memory_gib=140, **versions)


@pytest.mark.parametrize(
    ("package", "args", "blamed", "command"),
    [
        ("flash-attn", {"flash_attn": "fa2"}, "flash_attn", "uv pip install --no-build-isolation flash-attn"),
        ("bitsandbytes", {"quantization_bit": 4}, "quantization_bit", "--extra bitsandbytes"),
        ("bitsandbytes", {"quantization_bit": 8}, "quantization_bit", "--extra bitsandbytes"),
        ("bitsandbytes", {"optim": "paged_adamw_8bit"}, "optim", "--extra bitsandbytes"),
        ("liger-kernel", {"enable_liger_kernel": True}, "enable_liger_kernel", "uv pip install liger-kernel"),
        ("deepspeed", {"deepspeed": "ds_z2_config.json"}, "deepspeed", "--extra deepspeed"),
    ],
)
def test_what_one_node_of_the_kind_lacks_is_refused_with_what_to_do(
    owner: Person, package: str, args: dict[str, Any], blamed: str, command: str
) -> None:
    register_all_but("gpu-1")
    register_all_but("gpu-2", package)
    body = build_body(2, **args)
    refused = list_problems(owner.post("/estimates", json=body))
    assert list(refused) == [f"args.{blamed}"]
    assert f"package {package}, which is not installed on node gpu-2" in refused[f"args.{blamed}"]
    assert command in refused[f"args.{blamed}"]
    register_all_but("gpu-2")
    assert owner.post("/estimates", json=body).status_code == 200
    assert owner.post("/jobs", json=body).status_code == 201


@pytest.mark.parametrize("args", [{"flash_attn": "fa2"}, {"quantization_bit": 4}, {"optim": "adamw_8bit"}])
def test_a_cpu_can_do_none_of_it_whatever_is_installed(owner: Person, args: dict[str, Any]) -> None:
    register("node-1", 2, kind="cpu", **ALL)
    refused = list_problems(owner.post("/estimates", json=build_body(1, kind="cpu", **args)))
    assert "it needs a GPU" in refused[f"args.{next(iter(args))}"]


def test_only_what_every_node_of_the_kind_has_is_recommended(owner: Person, tuneforge_home: Path) -> None:
    folder = make_model(tuneforge_home, "qwen2.5-0.5b", parameters=494_000_000)
    (folder / "config.json").write_text(json.dumps(find_published_config("qwen2.5-0.5b")))
    with transaction() as session:
        catalogue.discover(session)
    body = build_body(1, kind="h200-141g") | {"model": "qwen2.5-0.5b"}
    facts = {"dataset_info": {"file_name": "a.json"}, "token_stats": {"mean": 500.0}}
    report = {"stage": "sft", "usable_count": 5000}
    body["datasets"] = [make_own_dataset(owner.id, report=report, facts=facts)]

    def advise() -> set[str]:
        answer = owner.post("/estimates", json=body).json()
        return {"enable_liger_kernel", "flash_attn"} & answer["recommended"]["args"].keys()

    register_all_but("gpu-1", kind="h200-141g")
    assert advise() == {"enable_liger_kernel", "flash_attn"}
    register_all_but("gpu-2", "flash-attn", kind="h200-141g")
    assert advise() == {"enable_liger_kernel"}
    register_all_but("gpu-3", "liger-kernel", kind="h200-141g")
    assert advise() == set()
    register_all_but("gpu-4", kind="h100-80g")
    body["resources"]["gpu_kind"] = "h100-80g"
    assert advise() == {"enable_liger_kernel", "flash_attn"}


def test_the_form_is_told_what_each_kind_has(owner: Person) -> None:
    register_all_but("gpu-1", "flash-attn")
    register_all_but("gpu-2", "bitsandbytes")
    kinds = {kind["id"]: kind["packages"] for kind in owner.get("/resources").json()["gpu_kinds"]}
    assert kinds == {"h100-80g": ["deepspeed", "liger-kernel"], "cpu": []}
    described = {one["name"]: one for one in owner.list_all("/arguments")}
    assert described["flash_attn"]["choice_packages"] == {"fa2": "flash-attn"}
    assert described["deepspeed"]["package"] in OPTIONAL_PACKAGES
