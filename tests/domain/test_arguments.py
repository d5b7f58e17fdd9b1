"""What may be asked of LLaMA-Factory, by our own rules; `test_argument_verdicts.py` asks LLaMA-Factory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.domain.arguments import build_defaults, check_arguments, list_arguments
from backend.domain.errors import Problem
from tests.domain.argument_cases import LACKING, SOUND, UNSOUND, Case

ROOT = Path(__file__).resolve().parents[2]


def check(args: dict[str, Any], **job: Any) -> tuple[dict[str, Any], list[Problem]]:
    """Check as for a LoRA train job on one GPU, unless `job` says otherwise."""
    usual: dict[str, Any] = {
        "kind": "train",
        "stage": "sft",
        "finetuning_type": "lora",
        "gpu_count": 1,
        "device": "cuda",
        "template": "qwen2_vl",
        "lacking": LACKING,
    }
    return check_arguments(args, **(usual | job))


def read(problems: list[Problem]) -> dict[str, str]:
    """Return the problems' sentences by the argument they name."""
    return {str(problem.loc[1]): problem.msg for problem in problems}


# -- the description ---------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_description_is_current() -> None:
    script = ROOT / "scripts" / "describe_arguments.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_every_listed_argument_is_described_in_two_languages() -> None:
    listed = list_arguments()
    assert len(listed) > 200
    for one in listed:
        assert one["label"]["en"], one
        assert one["label"]["zh"], one
        assert len(one["help"]["en"]) > 8, one
        assert re.search("[\u4e00-\u9fff]", one["help"]["zh"]), one


def test_every_listed_default_would_pass() -> None:
    for kind in ("train", "evaluate"):
        own = {one["name"]: one["default"] for one in list_arguments() if kind in one["kinds"]}
        for name, value in own.items():
            _, problems = check({name: value}, kind=kind)
            assert problems == [], (name, value)


@pytest.mark.parametrize("kind", ["train", "evaluate"])
@pytest.mark.parametrize("finetuning_type", ["lora", "freeze", "full"])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_the_defaults_pass_their_own_checks(kind: str, finetuning_type: str, device: str) -> None:
    defaults = build_defaults(kind=kind, stage="sft", finetuning_type=finetuning_type, device=device)
    assert check(defaults, kind=kind, finetuning_type=finetuning_type, device=device)[1] == []


def test_the_defaults_are_the_hosted_products() -> None:
    defaults = build_defaults(kind="train", stage="sft", finetuning_type="lora", device="cuda")
    expected = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 8,
        "num_train_epochs": 3,
        "learning_rate": 5e-5,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "lora_rank": 8,
        "lora_alpha": 16,
        "cutoff_len": 2048,
        "bf16": True,
    }
    assert defaults.items() >= expected.items()
    assert build_defaults(kind="train", stage="sft", finetuning_type="full", device="cpu")["bf16"] is False


# -- one argument by itself --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SOUND, ids=lambda case: json.dumps(case.args)[:60])
def test_sound_arguments(case: Case) -> None:
    _, problems = check(
        case.args,
        kind=case.kind,
        finetuning_type=case.finetuning_type,
        device="cpu",
        dataset_count=len(case.datasets),
    )
    assert problems == []


@pytest.mark.parametrize("case", UNSOUND, ids=lambda case: json.dumps(case.args)[:60])
def test_unsound_arguments_are_named_and_nothing_else_is(case: Case) -> None:
    _, problems = check(
        case.args,
        kind=case.kind,
        finetuning_type=case.finetuning_type,
        device="cpu",
        dataset_count=len(case.datasets),
    )
    assert [problem.loc for problem in problems] == [("args", case.blames)]
    assert problems[0].msg
    assert re.search("[\u4e00-\u9fff]", problems[0].msg_zh or "")


def test_every_problem_is_named_at_once() -> None:
    _, problems = check(
        {
            "learning_rat": 1,
            "lora_rank": 0,
            "output_dir": "/etc",
            "mask_history": True,
            "train_on_prompt": True,
            "lr_scheduler_type": "cosin",
        }
    )
    assert set(read(problems)) == {
        "learning_rat",
        "lora_rank",
        "output_dir",
        "mask_history",
        "lr_scheduler_type",
    }


def test_a_faulty_argument_is_not_blamed_twice() -> None:
    _, problems = check({"eval_strategy": "stepz", "load_best_model_at_end": True, "val_size": 0.1})
    assert list(read(problems)) == ["eval_strategy"]


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("learning_rat", "learning_rate"),
        ("--learning-rate", "learning_rate"),
        ("lr", "learning_rate"),
        ("max_seq_length", "cutoff_len"),
        ("evaluation_strategy", "eval_strategy"),
        ("lora_ranks", "lora_rank"),
    ],
)
def test_the_nearest_name_is_offered(asked: str, meant: str) -> None:
    assert meant in read(check({asked: 1})[1])[asked]


def test_a_quoted_number_is_explained() -> None:
    assert "write 5e-5 without quotation marks" in read(check({"learning_rate": "5e-5"})[1])["learning_rate"]


@pytest.mark.parametrize(
    "name",
    [
        "swanlab_api_key",
        "hub_token",
        "report_to",
        "trust_remote_code",
        "fsdp_config",
        "model_name_or_path",
        "dataset_dir",
    ],
)
@pytest.mark.parametrize("value", ["x", None, False, {"a": 1}])
def test_what_is_the_platforms_is_refused_whatever_its_value(name: str, value: object) -> None:
    assert list(read(check({name: value})[1])) == [name]


HOSTILE_VALUES: list[Any] = [
    None, True, -1, 10**400, 1e308, float("nan"), float("-inf"), "", "\0", "\ud800", "${oc.env:HOME}", "x" * 30_000,
    [], [1], [["x"] * 3], {}, {"\ud800": 1}, {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}, [[[[[[[]]]]]]],
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=lambda value: repr(value)[:30])
def test_hostile_values_are_answered_in_text_that_can_be_sent(value: Any) -> None:
    for one in list_arguments():
        for problem in check({one["name"]: value}, kind=one["kinds"][0])[1]:
            f"{problem.loc}{problem.msg}{problem.msg_zh}".encode()
            assert len(problem.msg) < 1000


@pytest.mark.parametrize("name", ["", "\0", "\ud800", "x" * 5000, "__class__", "args", "学习率"])
def test_hostile_names_are_unknown(name: str) -> None:
    (problem,) = check({name: 1})[1]
    f"{problem.loc}{problem.msg}{problem.msg_zh}".encode()
    assert "no such argument" in problem.msg


def test_flash_attention_takes_packs_of_separate_rows_one_at_a_time() -> None:
    """LLaMA-Factory 0.9.5 asserts it in the collator, at the first batch on the GPU."""
    packed = {"neat_packing": True, "flash_attn": "fa2"}
    assert list(read(check(packed, lacking={})[1])) == ["neat_packing"]
    given = packed | {"per_device_train_batch_size": 2, "val_size": 0.1, "per_device_eval_batch_size": 4}
    assert set(read(check(given, lacking={})[1])) == {
        "per_device_train_batch_size",
        "per_device_eval_batch_size",
    }
    for sound in ({"per_device_train_batch_size": 1}, {"flash_attn": "sdpa"}, {"neat_packing": False}):
        assert check(packed | sound, lacking={})[1] == []


# -- what follows from what was asked ----------------------------------------------------------------------


def test_what_follows_is_added() -> None:
    assert check({"fp16": True})[0] == {"fp16": True, "bf16": False}
    assert check({"warmup_ratio": 0.2})[0] == {"warmup_steps": 0.2}
    assert check({"val_size": 20.0, "save_steps": 7, "per_device_train_batch_size": 3})[0] == {
        "val_size": 20,
        "save_steps": 7,
        "per_device_train_batch_size": 3,
        "eval_strategy": "steps",
        "eval_steps": 7,
        "per_device_eval_batch_size": 3,
    }
    assert check({"val_size": 0.1, "eval_strategy": "epoch"})[0].get("eval_steps") is None


def test_nothing_is_added_that_was_said_otherwise() -> None:
    args = {"fp16": True, "bf16": True}
    checked, problems = check(args)
    assert checked == args
    assert list(read(problems)) == ["fp16"]


# -- the job around them -----------------------------------------------------------------------------------


def test_quantisation_is_for_lora() -> None:
    for finetuning_type in ("full", "freeze"):
        _, problems = check({"quantization_bit": 8}, finetuning_type=finetuning_type)
        assert any("LoRA" in problem.msg for problem in problems) or "package" in problems[0].msg


def test_one_share_for_each_dataset() -> None:
    args = {"mix_strategy": "interleave_under", "interleave_probs": "0.2,0.8"}
    assert check(args, dataset_count=2)[1] == []
    assert "3 datasets" in read(check(args, dataset_count=3)[1])["interleave_probs"]


def test_a_template_that_llamafactory_lacks_is_the_models_fault() -> None:
    (problem,) = check({}, template="hogwarts")[1]
    assert problem.loc == ("model",)
    assert check({}, template=None)[1] == []
