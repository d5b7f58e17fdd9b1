"""What a job's body may say."""

import pytest
from pydantic import TypeAdapter, ValidationError

from backend.domain.spec import JobBody, build_job_name, clean_prompt, parse_adapter

BODY = TypeAdapter(JobBody)
TRAIN = {"kind": "train", "model": "m", "datasets": ["d"]}


def test_the_least_a_body_says() -> None:
    body = BODY.validate_python(TRAIN)
    assert (body.tier, body.resources.gpu_count, body.args) == ("express", 1, {})


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"datasets": []},
        {"datasets": "d"},
        {"kind": "dance"},
        {"tier": "gold"},
        {"resources": {"gpu_count": 0}},
        {"resources": {"gpu_count": 1, "colour": "red"}},
        {"name": "line\nbreak"},
        {"name": "nul\x00"},
        {"name": " "},
        {"name": "x" * 121},
        {"finetuning_type": "magic"},
        {"args": []},
    ],
)
def test_what_is_wrong_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BODY.validate_python(TRAIN | change)


@pytest.mark.parametrize(
    "adapter", ["../../etc", "abc", "abcdefgh:checkpoint-", "abcdefgh:checkpoint-1/..", "A" * 20]
)
def test_an_adapter_is_a_job_or_one_of_its_checkpoints(adapter: str) -> None:
    with pytest.raises(ValidationError):
        BODY.validate_python({"kind": "evaluate", "adapter": adapter, "datasets": ["d"]})


def test_parse_adapter() -> None:
    assert parse_adapter("abcdefgh12") == ("abcdefgh12", None)
    assert parse_adapter("abcdefgh12:checkpoint-40") == ("abcdefgh12", 40)


def test_a_long_models_job_name_fits() -> None:
    name = build_job_name("m" * 200, "train", "20260101000000000")
    assert len(name) <= 120
    assert name.endswith("-FS20260101000000000")


def test_a_prompt_is_shown_without_the_templates_tokens() -> None:
    prompt = (
        "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><|image_pad|><|image_pad|><|vision_end|>前方是什么灯？<|im_end|>\n<|im_start|>assistant\n"
    )
    assert clean_prompt(prompt) == "前方是什么灯？"
    assert clean_prompt("plain") == "plain"
