"""That the base model is a real Qwen2.5-VL, written and read as LLaMA-Factory writes and reads it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from backend.domain.demonstration import HELDOUT_DATASET_NAME, MODEL_NAME, TEMPLATE
from worker.demonstration import pretraining, seeing, telling
from worker.demonstration.drawing import draw_scene
from worker.demonstration.pictures import draw_patches
from worker.demonstration.scenes import choose_scene

# The first test that asks for the home may wait for it to be made.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def model_folder(demonstration_home: Path) -> Path:
    """The base model's folder."""
    return demonstration_home / "models" / MODEL_NAME


@pytest.fixture(scope="module")
def processor(model_folder: Path) -> Any:
    """The processor as anyone loads it."""
    return AutoProcessor.from_pretrained(model_folder)


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Any:
    """The model as anyone loads it."""
    return AutoModelForImageTextToText.from_pretrained(model_folder).eval()


def test_loads_as_what_it_is(model_folder: Path, model: Any, processor: Any) -> None:
    facts = json.loads((model_folder / "tuneforge.json").read_text("utf-8"))
    assert type(model).__name__ == facts["architecture"] == "Qwen2_5_VLForConditionalGeneration"
    assert AutoConfig.from_pretrained(model_folder).architectures == [facts["architecture"]]
    assert type(processor).__name__ == "Qwen2_5_VLProcessor"
    assert sum(weight.numel() for weight in model.parameters()) == facts["parameters"]
    assert facts["template"] == TEMPLATE
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


@pytest.mark.parametrize(
    "text", ["左侧车道是什么车？", "naïve 🚗 \u0000 <b>", " two  spaces\n\n\ttab", "12345"]
)
def test_tokenizer_encodes_any_text(model_folder: Path, text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert max(ids) < tokenizer.vocab_size <= 1024


def build_conversation(question: str, answer: str) -> list[dict[str, Any]]:
    """Return a conversation about one picture in the form that chat templates take."""
    content = [{"type": "image"}, {"type": "text", "text": question}]
    return [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]


@pytest.mark.real
def test_same_tokens_as_llamafactory(demonstration_home: Path, processor: Any) -> None:
    """Chat template, picture tokens and the facts' lengths are what LLaMA-Factory makes of the rows."""
    from llamafactory.data.template import get_template_and_fix_tokenizer

    folder = demonstration_home / "datasets" / HELDOUT_DATASET_NAME
    facts = json.loads((folder / "tuneforge.json").read_text("utf-8"))
    tokenizer = processor.tokenizer
    arguments = SimpleNamespace(
        template=TEMPLATE, train_on_prompt=False, tool_format=None, default_system=None, enable_thinking=None
    )
    template = get_template_and_fix_tokenizer(tokenizer, arguments)
    whole, labels = [], []
    for row in json.loads((folder / "data.json").read_text("utf-8")):
        images = [str(folder / name) for name in row["images"]]
        messages = template.mm_plugin.process_messages(row["messages"], images, [], [], processor)
        asked, told = template.encode_oneturn(tokenizer, messages)
        question, answer = (message["content"] for message in row["messages"])
        chat = build_conversation(question.removeprefix("<image>"), answer)
        text = processor.apply_chat_template(chat)
        ours = processor(text=[text], images=[draw_scene(choose_scene(0))])["input_ids"][0]
        assert list(ours) == asked + told
        whole.append(len(ours))
        labels.append(len(told))
    stats = facts["token_stats"]
    assert stats["mean"] == pytest.approx(sum(whole) / len(whole), abs=0.01)
    assert stats["max"] == max(whole)
    assert stats["label_mean"] == pytest.approx(sum(labels) / len(labels), abs=0.01)
    assert stats["image_tokens_mean"] == ours.count(tokenizer.convert_tokens_to_ids("<|image_pad|>"))


def test_lessons_are_the_models_own_forward_pass(model: Any, processor: Any) -> None:
    """Pre-training without tower and prompt logits computes the loss that the whole model computes."""
    scene = choose_scene(5)
    patches = draw_patches([scene], processor.image_processor)
    grid = telling.encode_opening(processor, scene)["image_grid_thw"]
    with torch.no_grad():
        seen = seeing.look(model.model.visual, patches, grid)
    lessons = telling.Lessons(model, processor, [scene], seen)
    turns = [("sky?", "day clear"), ("left?", "red truck")]
    ids, labels = lessons.encode_conversation(turns)
    chat = build_conversation(*turns[0])
    chat += [{"role": "user", "content": turns[1][0]}, {"role": "assistant", "content": turns[1][1]}]
    inputs = processor(
        text=[processor.apply_chat_template(chat).removesuffix("\n")],
        images=[draw_scene(scene)],
        return_tensors="pt",
    )
    assert inputs["input_ids"][0].tolist() == ids
    with torch.no_grad():
        whole = model(**inputs, labels=torch.tensor([labels])).loss
        lesson = lessons._compute_loss([(ids, labels)], seen, lessons.positions)
    assert lesson.item() == pytest.approx(whole.item(), rel=1e-3)


def test_pre_training_is_reproducible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "SCENE_COUNT", 32)
    monkeypatch.setattr(seeing, "STEPS", 3)
    monkeypatch.setattr(telling, "STEPS", 3)
    for name in ("first", "second"):
        torch.rand(7)
        pretraining.make_base_model(tmp_path / name)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "second")
    )
    assert first == second
    assert "model.safetensors" in first
