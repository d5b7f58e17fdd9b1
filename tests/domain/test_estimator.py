"""The estimate: monotone where it must be, its parts the whole, and never a fault, whatever is unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.domain.estimate.batch import build_batches, scale_picture
from backend.domain.estimate.memory import estimate_memory, measure_frozen_weights
from backend.domain.estimate.parameters import count_parameters
from backend.domain.estimate.phases import count_steps
from backend.domain.estimate.run_settings import RunSettings, parse_run_settings
from backend.domain.estimate.speed import estimate_step
from backend.domain.estimator import DatasetFacts, estimate_job, keep_room_for_communication
from backend.domain.gpu_kinds import GIB, describe_gpu_kind
from backend.domain.model_facts import ModelFacts, parse_model_facts
from backend.domain.published_models import find_published_config
from tests.domain.estimator_cases import build_args, build_data, build_model, jobs

Json = dict[str, Any]
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)


def estimate(job: Json, **changes: Any) -> Json:
    return estimate_job(**(job | changes))


# -- shape -----------------------------------------------------------------------------------------------------


@_PATIENT
@given(jobs())
def test_the_parts_add_up_to_the_whole(job: Json) -> None:
    found = estimate(job, queue_seconds=12.0)
    phases = found["breakdown_seconds"]
    assert set(phases) == {"queue", "start", "load", "tokenize", "train", "evaluate", "save"}
    assert found["duration_seconds"]["expected"] == pytest.approx(sum(phases.values()) - 12.0, abs=0.05)
    memory = found["memory_bytes"]
    assert sum(memory["parts"].values()) == memory["expected"]
    for span in (found["duration_seconds"], memory):
        assert 0 <= span["low"] <= span["expected"] <= span["high"]
    assert found["cost"] == found["by_tier"][job["tier"]]
    assert all(value >= 0 for value in (*phases.values(), *memory["parts"].values()))


@_PATIENT
@given(jobs())
def test_what_does_not_fit_is_said_with_a_change_that_makes_it_fit(job: Json) -> None:
    found = estimate(job)
    memory = found["memory_bytes"]
    if found["fits"] == "yes":
        assert memory["expected"] <= memory["available"]
        return
    [warning] = [one for one in found["warnings"] if "memory" in one["code"]]
    assert warning["detail"]
    assert warning["detail_zh"]
    if warning["fix"] and job["kind"] == "train":
        assert estimate(job, args=job["args"] | warning["fix"])["fits"] == "yes"


@_PATIENT
@given(jobs())
def test_what_is_recommended_fits_is_faster_and_learns_the_same(job: Json) -> None:
    found = estimate(job)
    advice = found["recommended"]
    if advice is None:
        return
    args = job["args"] | advice["args"]
    after = estimate(job, args=args)
    assert after["fits"] == "yes"
    if found["fits"] == "yes":
        assert after["duration_seconds"]["expected"] < found["duration_seconds"]["expected"]
    assert advice["duration_seconds"]["expected"] == pytest.approx(
        after["duration_seconds"]["expected"], abs=0.4
    )
    assert len(advice["why"]) == len(advice["why_zh"]) > 0
    same = ("per_device_train_batch_size", "gradient_accumulation_steps")
    before_batch, after_batch = (one[same[0]] * one[same[1]] for one in (job["args"], args))
    assert before_batch == after_batch
    switches = {"disable_gradient_checkpointing", "enable_liger_kernel", "flash_attn"}
    assert set(advice["args"]) <= {*same, *switches, "dataloader_num_workers"}
    assert "enable_liger_kernel" not in advice["args"] or "liger-kernel" in job["packages"]
    assert "flash_attn" not in advice["args"] or "flash-attn" in job["packages"]


def test_quantised_weights_take_what_bitsandbytes_keeps_of_them() -> None:
    """bitsandbytes 0.50.2 on a Qwen2 of width 512 keeps 0.5158, 0.5625 and 1.0065 bytes a number (its tables apart)."""
    text = parse_model_facts(
        {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 2, "num_attention_heads": 8,
         "num_key_value_heads": 2, "vocab_size": 1000, "tie_word_embeddings": False}
    )  # fmt: skip

    def measure_a_number(**args: Any) -> float:
        run = parse_run_settings(
            args, model=text, gpu=describe_gpu_kind("h200"), gpu_count=1, stage="sft", finetuning_type="lora"
        )
        parameters = count_parameters(run)
        in_half = 2 * (parameters.frozen - parameters.linear)
        return (measure_frozen_weights(run, parameters) - in_half) / parameters.linear

    assert measure_a_number(quantization_bit=4) == pytest.approx(0.5158, abs=2e-4)
    assert measure_a_number(quantization_bit=4, double_quantization=False) == pytest.approx(0.5625, abs=2e-4)
    assert measure_a_number(quantization_bit=8) == pytest.approx(1.0065, abs=2e-3)
    assert measure_a_number() == 2.0


def test_what_does_not_fit_is_changed_in_the_order_people_prefer() -> None:
    """Each time the change before is not enough: the batch, the loss, sharing out, fewer bits, and last the data."""
    packages = frozenset({"liger-kernel", "bitsandbytes", "deepspeed"})

    def find_fix(gpu_kind: str, gpu_count: int = 1, method: str = "lora", **job: Any) -> list[str]:
        asked = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
        found = estimate_job(
            kind="train", stage="sft", finetuning_type=method, args=build_args() | asked | job.pop("args", {}),
            model=build_model("qwen2.5-7b"), datasets=[build_data(2000, 1500.0)], gpu_kind=gpu_kind, gpu_count=gpu_count,
            **{"packages": packages} | job,
        )  # fmt: skip
        (warning,) = (one for one in found["warnings"] if "memory" in one["code"])
        chosen = {"deepspeed", "fsdp", "quantization_bit", "cutoff_len"}
        return [f"{name}={value}" if name in chosen else name for name, value in warning["fix"].items()]

    batch = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 1}
    assert find_fix("rtx4090-24g", args=batch) == [*batch]
    assert find_fix("a10-18g") == ["enable_liger_kernel"]
    assert find_fix("a10-16g", 2) == ["enable_liger_kernel", "deepspeed=ds_z3_config.json"]
    assert find_fix("a10-12g", 2) == ["enable_liger_kernel", "deepspeed=ds_z3_offload_config.json"]
    assert find_fix("a10-22g", 2, packages=frozenset()) == ["fsdp=full_shard auto_wrap"]
    assert find_fix("a10-16g") == ["enable_liger_kernel", "quantization_bit=8"]
    assert find_fix("a10-10g") == ["enable_liger_kernel", "quantization_bit=4"]
    assert find_fix("a10-18g", packages=frozenset()) == ["cutoff_len=512"]
    assert find_fix("a10-8g") == []
    assert find_fix("a100-80g", method="full") == ["enable_liger_kernel", "pure_bf16"]
    assert find_fix("a100-80g", 4, method="full") == ["enable_liger_kernel", "deepspeed=ds_z3_config.json"]


def test_paged_state_does_not_count_against_a_card_but_is_shown() -> None:
    job = {
        "kind": "train", "stage": "sft", "finetuning_type": "full", "model": build_model("qwen2.5-3b"),
        "datasets": [build_data(2000, 500.0)], "gpu_kind": "rtx6000ada-48g", "gpu_count": 1,
    }  # fmt: skip
    usual, paged = (
        estimate_job(args=build_args() | {"optim": optim}, **job)
        for optim in ("adamw_torch", "paged_adamw_32bit")
    )
    assert (
        usual["memory_bytes"]["parts"]["optimizer"] == paged["memory_bytes"]["parts"]["optimizer"] > 20 * GIB
    )
    assert (usual["fits"], paged["fits"]) == ("no", "tight")


def test_flash_attention_is_recommended_where_it_is_installed_and_copies_no_keys() -> None:
    job = {
        "kind": "train", "stage": "sft", "finetuning_type": "lora", "args": build_args(),
        "model": build_model("qwen2.5-0.5b"), "datasets": [build_data(1200, 500.0)],
        "gpu_kind": "h200", "gpu_count": 1, "packages": frozenset({"liger-kernel", "flash-attn"}),
    }  # fmt: skip
    advice = estimate(job)["recommended"]
    assert advice["args"]["flash_attn"] == "fa2"
    for lacking in ({"gpu_kind": "v100"}, {"packages": frozenset({"liger-kernel"})}):
        without = estimate(job, **lacking)["recommended"]
        assert "flash_attn" not in without["args"]
        assert without["duration_seconds"]["expected"] > advice["duration_seconds"]["expected"]


def test_windows_of_pictures_cost_less_on_the_platform_than_in_llamafactory_by_itself() -> None:
    data = build_data(1200, 870.0, pictures=1.0)

    def take(gpu: str, **settings: Any) -> float:
        run = parse_run_settings(
            build_args(), model=build_model("qwen2.5-vl-7b"), gpu=describe_gpu_kind(gpu), gpu_count=1, stage="sft",
            finetuning_type="lora", **settings,
        )  # fmt: skip
        return estimate_step(run, build_batches(run, data)[0]).compute

    assert take("h200") < 0.7 * take("h200", on_platform=False)
    assert take("v100") == take("v100", on_platform=False)  # it has no such kernel


# -- monotone ----------------------------------------------------------------------------------------------------


def build_run(job: Json) -> RunSettings:
    gpu = describe_gpu_kind(job["gpu_kind"], job["memory_bytes"])
    return parse_run_settings(
        job["args"],
        model=job["model"],
        gpu=gpu,
        gpu_count=job["gpu_count"],
        stage=job["stage"],
        finetuning_type=job["finetuning_type"],
    )


def measure(run: RunSettings, data: DatasetFacts) -> tuple[float, float]:
    """Return the seconds and the bytes of a step."""
    usual, largest = build_batches(run, data)
    return estimate_step(run, usual).total, estimate_memory(run, largest).total


def grow_tokens(run: RunSettings, data: DatasetFacts) -> tuple[RunSettings, DatasetFacts]:
    lengths = ("mean_tokens", "median_tokens", "p95_tokens", "max_tokens")
    quantiles = tuple((share, length * 1.5) for share, length in data.quantiles)
    longer = replace(data, quantiles=quantiles, **{name: getattr(data, name) * 1.5 for name in lengths})
    return replace(run, cutoff_len=run.cutoff_len * 2), longer


def grow_layers(run: RunSettings, data: DatasetFacts) -> tuple[RunSettings, DatasetFacts]:
    text = replace(run.model.text, layers=run.model.text.layers + 4)
    added = text.parameters - run.model.text.parameters
    return replace(run, model=replace(run.model, text=text, parameters=run.model.parameters + added)), data


def grow_batch(run: RunSettings, data: DatasetFacts) -> tuple[RunSettings, DatasetFacts]:
    return replace(run, batch=run.batch + 1), data


def grow_width(run: RunSettings, data: DatasetFacts) -> tuple[RunSettings, DatasetFacts]:
    text = replace(run.model.text, intermediate=run.model.text.intermediate + 512)
    added = text.parameters - run.model.text.parameters
    return replace(run, model=replace(run.model, text=text, parameters=run.model.parameters + added)), data


@pytest.mark.parametrize("grow", [grow_tokens, grow_layers, grow_batch, grow_width])
@_PATIENT
@given(job=jobs(kinds=("train",)))
def test_more_of_it_never_takes_less(
    grow: Callable[[RunSettings, DatasetFacts], tuple[RunSettings, DatasetFacts]], job: Json
) -> None:
    run, data = build_run(job), job["datasets"][0]
    seconds, held = measure(run, data)
    more_seconds, more_held = measure(*grow(run, data))
    assert more_seconds >= seconds * (1 - 1e-9)
    assert more_held >= held


@_PATIENT
@given(jobs(kinds=("train",)), st.integers(2, 64))
def test_more_devices_never_need_more_memory_each(job: Json, more: int) -> None:
    few = build_run(job)
    many = replace(few, gpu_count=few.gpu_count * more)
    largest = build_batches(few, job["datasets"][0])[1]
    assert estimate_memory(many, largest).total <= estimate_memory(few, largest).total


@_PATIENT
@given(jobs(kinds=("train",)), st.integers(1, 5))
def test_more_epochs_never_take_less_time(job: Json, more: int) -> None:
    epochs = job["args"]["num_train_epochs"]
    longer = estimate(job, args=job["args"] | {"num_train_epochs": epochs + more})
    shorter = estimate(job)
    assert longer["duration_seconds"]["expected"] >= shorter["duration_seconds"]["expected"]
    assert longer["steps"] > shorter["steps"]
    assert longer["memory_bytes"] == shorter["memory_bytes"]


@_PATIENT
@given(jobs(kinds=("evaluate",)))
def test_a_model_that_stops_is_never_slower_than_one_that_does_not(job: Json) -> None:
    tuned, untuned = estimate(job, tuned=True), estimate(job, tuned=False)
    assert tuned["duration_seconds"]["expected"] <= untuned["duration_seconds"]["expected"]


# -- LLaMA-Factory's rules -------------------------------------------------------------------------------------------


def build_steps(args: Json, examples: int, gpu_count: int = 1) -> int:
    model = build_model("qwen2.5-vl-7b")
    run = parse_run_settings(
        args,
        model=model,
        gpu=describe_gpu_kind("h800"),
        gpu_count=gpu_count,
        stage="sft",
        finetuning_type="lora",
    )
    return count_steps(run, args, build_data(examples, 1500, pictures=1.0)).steps


def test_steps_are_those_of_the_hosted_products_run() -> None:
    """1,204 rows, 3 epochs, 4 cards x 2 x 8: its log says 57."""
    assert build_steps(build_args(), 1204, 4) == 57


@pytest.mark.parametrize(
    ("args", "examples", "steps"),
    [
        ({}, 16, 3),
        ({}, 17, 6),
        ({"max_steps": 5}, 1000, 5),
        ({"max_samples": 32}, 1000, 6),
        ({"val_size": 0.5}, 64, 6),
        ({"val_size": 16}, 32, 3),
        ({"num_train_epochs": 0.5}, 64, 2),
        ({"gradient_accumulation_steps": 1000}, 8, 3),
    ],
)
def test_steps_follow_the_trainers_rounding(args: Json, examples: int, steps: int) -> None:
    assert build_steps(build_args() | args, examples) == steps


def test_a_picture_becomes_the_tokens_that_qwens_processor_makes() -> None:
    """1928x1208 at LLaMA-Factory's default limit: 35 x 22 merged tokens."""
    model = build_model("qwen2.5-vl-7b")
    assert model.vision is not None
    run = parse_run_settings(
        {},
        model=model,
        gpu=describe_gpu_kind("h200"),
        gpu_count=1,
        stage="sft",
        finetuning_type="lora",
    )
    rows, columns = scale_picture(run, 1928, 1208, model.vision)
    assert (rows // 2, columns // 2) == (22, 35)


# -- what is not known -----------------------------------------------------------------------------------------------


def test_each_unknown_fact_widens_the_range_and_is_said() -> None:
    known = {
        "kind": "train",
        "stage": "sft",
        "finetuning_type": "lora",
        "args": build_args(),
        "model": build_model("qwen2.5-7b"),
        "datasets": [build_data(1000, 700)],
        "gpu_kind": "h200",
        "gpu_count": 1,
    }
    sure = estimate_job(**known)
    assert sure["warnings"] == []
    unknown: list[Json] = [
        {"gpu_kind": "some-new-card"},
        {"model": parse_model_facts({"model_type": "new"}, parameters=7_000_000_000)},
        {"datasets": [DatasetFacts.parse(1000, {})]},
    ]
    codes = ["unknown_gpu_kind", "unknown_architecture", "unknown_lengths"]
    for change, code in zip(unknown, codes, strict=True):
        unsure = estimate_job(**(known | change))
        assert code in [warning["code"] for warning in unsure["warnings"]]
        assert _relative_width(unsure) > _relative_width(sure)


def _relative_width(found: Json) -> float:
    span = found["duration_seconds"]
    return float((span["high"] - span["low"]) / span["expected"])


_STRANGE = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats() | st.text(max_size=4)
_ARGUMENTS = ["cutoff_len", "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs"]
_ARGUMENTS += ["max_steps", "max_samples", "val_size", "lora_rank", "lora_target", "deepspeed", "save_steps"]
_ARGUMENTS += ["eval_steps", "eval_strategy", "quantization_bit", "image_max_pixels", "max_new_tokens"]


@_PATIENT
@given(
    st.dictionaries(st.sampled_from(_ARGUMENTS), _STRANGE),
    st.dictionaries(st.sampled_from(["token_stats", "picture_stats", "modalities"]), _STRANGE),
    st.text(max_size=8),
    st.sampled_from(["train", "evaluate"]),
)
def test_nothing_strange_is_a_fault(args: Json, facts: Json, gpu_kind: str, kind: str) -> None:
    found = estimate_job(
        kind=kind,
        stage="sft",
        finetuning_type="lora",
        args=args,
        model=parse_model_facts(find_published_config("qwen2.5-vl-3b") or {}),
        datasets=[DatasetFacts.parse(10, facts)],
        gpu_kind=gpu_kind,
        gpu_count=1,
    )
    assert found["duration_seconds"]["expected"] > 0
    assert found["memory_bytes"]["expected"] > 0


def test_no_dataset_at_all_is_estimated_too() -> None:
    model: ModelFacts = build_model("qwen2.5-0.5b")
    found = estimate_job(
        kind="train",
        stage="sft",
        finetuning_type="full",
        args={},
        model=model,
        datasets=[],
        gpu_kind="cpu",
        gpu_count=1,
        memory_bytes=8 * GIB,
    )
    assert found["steps"] >= 1


def test_cards_that_work_together_keep_room_for_what_they_tell_one_another() -> None:
    kind = describe_gpu_kind("h100-80g")
    assert keep_room_for_communication(kind, 1) == kind
    assert kind.memory_bytes - keep_room_for_communication(kind, 2).memory_bytes == int(2.25 * 2**30)
    processor = describe_gpu_kind("cpu", 8 << 30)
    assert keep_room_for_communication(processor, 2) == processor
