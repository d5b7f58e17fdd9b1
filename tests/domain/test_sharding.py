"""DeepSpeed's and FSDP's files are LLaMA-Factory's own, read by the libraries, and refused where they cannot work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.domain.arguments import build_defaults, check_arguments
from backend.domain.estimator import COMMUNICATION_BYTES, DatasetFacts, estimate_job
from backend.domain.llamafactory import build_train_config, dump_yaml
from backend.domain.model_facts import parse_model_facts
from backend.domain.published_models import find_published_config
from backend.domain.sharding import DEEPSPEED_FILES, FSDP_FILE, build_sharding_files

Z0, Z2, Z2_OFFLOAD, Z3, Z3_OFFLOAD = DEEPSPEED_FILES
FULL_SHARD = "full_shard auto_wrap"
ROOT = Path(__file__).resolve().parents[2]


def run_script(text: str, folder: Path) -> Any:
    """Run Python in a process of its own, which may import torch, and return the JSON of its last line."""
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(args: dict[str, Any], finetuning_type: str = "full", **changed: Any) -> dict[str, str]:
    """Return the problems of a job on two GPUs by argument."""
    job = {"kind": "train", "stage": "sft", "gpu_count": 2, "device": "cuda", "template": None}
    _, problems = check_arguments(args, finetuning_type=finetuning_type, **(job | changed))
    assert all(re.search("[\u4e00-\u9fff]", problem.msg_zh or "") for problem in problems)
    return {str(problem.loc[1]): problem.msg for problem in problems}


# -- the files -------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_deepspeed_files_are_llamafactorys_own(tmp_path: Path) -> None:
    script = (
        "import json, pathlib\n"
        "from llamafactory.webui import common\n"
        "common.DEFAULT_CACHE_DIR = '.'\n"
        "common.create_ds_config()\n"
        "files = pathlib.Path().glob('ds_*.json')\n"
        "print(json.dumps({file.name: json.loads(file.read_text()) for file in files}))\n"
    )
    theirs = run_script(script, tmp_path)
    ours = json.loads(json.dumps(DEEPSPEED_FILES))
    for name in (Z2_OFFLOAD, Z3_OFFLOAD):
        assert ours[name].pop("zero_force_ds_cpu_optimizer") is False
    assert set(theirs) == set(ours) - {Z0}
    assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.real
def test_deepspeed_itself_reads_the_files(tmp_path: Path) -> None:
    for name in DEEPSPEED_FILES:
        (tmp_path / name).write_text(build_sharding_files({"deepspeed": name})[name])
    script = (
        "import json, pathlib\n"
        "from deepspeed.runtime.config import DeepSpeedConfig\n"
        "auto = {'train_batch_size': 4, 'train_micro_batch_size_per_gpu': 4, 'gradient_accumulation_steps': 1,\n"
        "        'gradient_clipping': 1.0, 'enabled': False}\n"
        "def fill(value):\n"
        "    return {name: fill(part) if isinstance(part, dict) else auto.get(name, 1000000)\n"
        "            if part == 'auto' else part for name, part in value.items()}\n"
        "found = {}\n"
        "for file in sorted(pathlib.Path().glob('ds_*.json')):\n"
        "    zero = DeepSpeedConfig(fill(json.loads(file.read_text()))).zero_config\n"
        "    parts = [part for part in (zero.offload_optimizer, zero.offload_param) if part]\n"
        "    offloads = [str(part.device).rpartition('.')[2] for part in parts]\n"
        "    found[file.name] = [int(zero.stage), offloads]\n"
        "print(json.dumps(found))\n"
    )
    assert run_script(script, tmp_path) == {
        Z0: [0, []],
        Z2: [2, []],
        Z2_OFFLOAD: [2, ["cpu"]],
        Z3: [3, []],
        Z3_OFFLOAD: [3, ["cpu", "cpu"]],
    }


@pytest.mark.real
@pytest.mark.parametrize(
    ("fsdp", "strategy", "offloads"),
    [
        (FULL_SHARD, "full_shard", False),
        (f"{FULL_SHARD} offload", "full_shard", True),
        ("shard_grad_op auto_wrap", "shard_grad_op", False),
    ],
)
def test_transformers_reads_the_fsdp_file(tmp_path: Path, fsdp: str, strategy: str, offloads: bool) -> None:
    (tmp_path / FSDP_FILE).write_text(build_sharding_files({"fsdp": fsdp})[FSDP_FILE])
    script = (
        "import json\n"
        "from transformers import TrainingArguments\n"
        f"args = TrainingArguments('out', use_cpu=True, fsdp={fsdp!r}, fsdp_config={FSDP_FILE!r})\n"
        "print(json.dumps(args.fsdp_plugin_args))\n"
    )
    plan = run_script(script, tmp_path)
    assert plan["reshard_after_forward"] == strategy
    assert plan.get("cpu_offload", False) is offloads
    assert plan["auto_wrap_policy"] == "TRANSFORMER_BASED_WRAP"
    assert (plan["use_orig_params"], plan["cpu_ram_efficient_loading"]) == (True, True)


def test_a_run_gets_the_files_that_its_yaml_names() -> None:
    defaults = build_defaults(kind="train", stage="sft", finetuning_type="full", device="cuda")
    common: dict[str, Any] = {
        "template": "qwen", "datasets": ["talks"], "stage": "sft", "finetuning_type": "full",
        "tracking_mode": "off", "run_name": "a run", "device": "cuda",
    }  # fmt: skip
    for args in ({}, *({"deepspeed": name} for name in DEEPSPEED_FILES), {"fsdp": FULL_SHARD}):
        text = dump_yaml(build_train_config(args=defaults | args, **common))
        assert set(re.findall(r"\w+\.json", text)) == set(build_sharding_files(args))
    assert "### distributed\nfsdp: full_shard auto_wrap\nfsdp_config: fsdp_config.json\n" in text


# -- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [{"deepspeed": name} for name in DEEPSPEED_FILES] + [{"fsdp": FULL_SHARD}])
@pytest.mark.parametrize("finetuning_type", ["lora", "freeze", "full"])
def test_they_are_for_jobs_of_several_gpus(args: dict[str, str], finetuning_type: str) -> None:
    (name,) = args
    assert check(args, finetuning_type) == {}
    assert "more than one" in check(args, finetuning_type, gpu_count=1)[name]
    assert "needs a GPU" in check(args, finetuning_type, device="cpu")[name]
    assert "no effect" in check(args, kind="evaluate")[name]


@pytest.mark.parametrize(
    ("args", "blamed"),
    [
        ({"deepspeed": "ds_z4_config.json"}, "deepspeed"),
        ({"deepspeed": "../../etc/passwd"}, "deepspeed"),
        ({"fsdp": "offload"}, "fsdp"),
        ({"fsdp": FULL_SHARD, "fsdp_config": {"version": 2}}, "fsdp_config"),
        ({"deepspeed": Z2, "fsdp": FULL_SHARD}, "fsdp"),
        ({"deepspeed": Z3, "pure_bf16": True}, "pure_bf16"),
        ({"deepspeed": Z3, "auto_find_batch_size": True}, "auto_find_batch_size"),
        ({"deepspeed": Z3, "predict_with_generate": True, "val_size": 0.1}, "predict_with_generate"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(args: dict[str, Any], blamed: str) -> None:
    assert list(check(args)) == [blamed]


def test_what_zero_2_can_zero_3_may_not() -> None:
    args = {"pure_bf16": True, "auto_find_batch_size": True, "predict_with_generate": True, "val_size": 0.1}
    assert check({"deepspeed": Z2} | args) == {}


def test_zero_3_with_pissa_is_refused() -> None:
    assert list(check({"deepspeed": Z3, "pissa_init": True}, "lora")) == ["pissa_init"]
    assert check({"deepspeed": Z2, "pissa_init": True}, "lora") == {}


# -- what is estimated -----------------------------------------------------------------------------------------


def estimate_memory(args: dict[str, Any]) -> int:
    """Return the bytes that full training of a 7B model is expected to take on each of four GPUs."""
    found = estimate_job(
        kind="train",
        stage="sft",
        finetuning_type="full",
        args=build_defaults(kind="train", stage="sft", finetuning_type="full", device="cuda") | args,
        model=parse_model_facts(find_published_config("qwen2.5-7b") or {}),
        datasets=[DatasetFacts.parse(1000, {})],
        gpu_kind="h200",
        gpu_count=4,
    )
    return int(found["memory_bytes"]["expected"])


def test_each_step_of_splitting_needs_less_of_a_gpu() -> None:
    alone, z2, z3, z3_offload = (
        estimate_memory({"deepspeed": name} if name else {}) for name in (None, Z2, Z3, Z3_OFFLOAD)
    )
    assert alone > 1.2 * z2 > 1.2**2 * z3 > 1.2**2 * z3_offload
    assert estimate_memory({"deepspeed": Z0}) == alone
    assert estimate_memory({"fsdp": FULL_SHARD}) == pytest.approx(z3, rel=0.15)
    assert estimate_memory({"fsdp": f"{FULL_SHARD} offload"}) == pytest.approx(z3_offload, rel=0.25)
    assert estimate_memory({"fsdp": "shard_grad_op auto_wrap"}) == pytest.approx(z2, rel=0.15)


def test_the_measured_run_under_fsdp_is_met() -> None:
    """Full training of Qwen2.5-1.5B on two H100 (`benchmarks/measured/platform_h100.jsonl`), NCCL's buffers included."""
    lines = (ROOT / "benchmarks" / "measured" / "platform_h100.jsonl").read_text().splitlines()
    (run,) = (row for row in map(json.loads, lines) if row["id"] == "fsdp")
    found = estimate_job(
        kind="train", stage="sft", finetuning_type="full", args=run["args"], gpu_kind="h100-80g", gpu_count=2,
        model=parse_model_facts(find_published_config("qwen2.5-1.5b") or {}),
        datasets=[DatasetFacts.parse(1000, {"token_stats": {"mean": 1024}})],
    )  # fmt: skip
    expected = found["memory_bytes"]["expected"] + COMMUNICATION_BYTES
    assert expected == pytest.approx(run["actual"]["peak_memory_bytes"], rel=0.05)


@pytest.mark.parametrize(("args", "per_number"), [(Z2_OFFLOAD, 16), (Z3_OFFLOAD, 20), (FULL_SHARD, 0)])
def test_what_is_offloaded_is_held_against_the_nodes_memory(args: str, per_number: int) -> None:
    model = parse_model_facts(find_published_config("qwen2.5-7b") or {})
    job: dict[str, Any] = {
        "kind": "train", "stage": "sft", "finetuning_type": "full", "model": model, "gpu_kind": "h200", "gpu_count": 4,
        "datasets": [DatasetFacts.parse(1000, {})], "args": {"fsdp" if args == FULL_SHARD else "deepspeed": args},
    }  # fmt: skip
    needed = per_number * model.parameters

    def list_codes(host_bytes: int | None) -> list[str]:
        return [one["code"] for one in estimate_job(**job, host_bytes=host_bytes)["warnings"]]

    assert "host_memory" not in list_codes(None)
    assert "host_memory" not in list_codes(int(needed / 0.89))
    assert ("host_memory" in list_codes(int(needed / 0.91))) == (per_number > 0)
