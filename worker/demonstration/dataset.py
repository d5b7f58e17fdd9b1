"""The demonstration's two datasets: drawn scenes with questions and answers in Chinese, in ShareGPT form."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from statistics import mean, median
from typing import Any

from transformers import Qwen2_5_VLProcessor

from worker.demonstration.drawing import HEIGHT, WIDTH, draw_scene
from worker.demonstration.questions import QUESTIONS
from worker.demonstration.scenes import Scene, choose_scene

FILE_NAME = "data.json"
DATASET_INFO: dict[str, Any] = {
    "file_name": FILE_NAME,
    "formatting": "sharegpt",
    "columns": {"messages": "messages", "images": "images"},
    "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
}
"""How LLaMA-Factory is to read the file."""

Row = dict[str, Any]


def choose_scenes(first_seed: int, count: int) -> list[Scene]:
    """Return `count` scenes of the seeds from `first_seed` on."""
    return [choose_scene(seed) for seed in range(first_seed, first_seed + count)]


def build_rows(scenes: Sequence[Scene], questions_each: int) -> list[Row]:
    """Return rows of one question about one picture; topics take turns, so that all come equally often."""
    topics = list(QUESTIONS)
    rows = []
    for index, scene in enumerate(scenes):
        start = index * questions_each
        chosen = [topics[(start + number) % len(topics)] for number in range(questions_each)]
        rows += [build_row(scene, name_picture(index), topic) for topic in chosen]
    Random(len(rows)).shuffle(rows)
    return rows


def build_row(scene: Scene, picture: str, topic: str) -> Row:
    """Return the row that asks of `topic` in the picture of `scene`."""
    question, answer = QUESTIONS[topic]
    messages = [
        {"role": "user", "content": f"<image>{question}"},
        {"role": "assistant", "content": answer(scene)},
    ]
    return {"messages": messages, "images": [picture]}


def name_picture(index: int) -> str:
    """Return the path of the dataset's picture number `index`, relative to its folder."""
    return f"images/{index:04d}.jpg"


def encode_picture(scene: Scene) -> bytes:
    """Return the picture of `scene` as JPEG."""
    file = io.BytesIO()
    draw_scene(scene).save(file, "JPEG", quality=92)
    return file.getvalue()


def write_dataset(folder: Path, scenes: Sequence[Scene], rows: list[Row]) -> None:
    """Write the pictures of `scenes`, and `rows`, into `folder`."""
    (folder / "images").mkdir(parents=True)
    for index, scene in enumerate(scenes):
        (folder / name_picture(index)).write_bytes(encode_picture(scene))
    text = json.dumps(rows, ensure_ascii=False, indent=1)
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def measure_tokens(rows: Iterable[Row], processor: Qwen2_5_VLProcessor) -> dict[str, float]:
    """Return how long rows are in tokens: the whole (mean, p50, p95, max), the answers and the pictures (means).

    Every picture is of one size, so one of them tells what all become.
    """
    content = [{"type": "image"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}])
    probe = processor(text=[text], images=[draw_scene(choose_scene(0))])["input_ids"][0]
    picture_tokens = probe.count(processor.tokenizer.convert_tokens_to_ids("<|image_pad|>"))
    whole, labels = [], []
    for row in rows:
        question, answer = (message["content"] for message in row["messages"])
        content = [{"type": "image"}, {"type": "text", "text": question.removeprefix("<image>")}]
        asked = [{"role": "user", "content": content}]
        prompt = processor.apply_chat_template(asked, add_generation_prompt=True)
        label = len(processor.tokenizer.encode(f"{answer}<|im_end|>\n"))
        # The template holds one placeholder for a picture, whatever its size.
        whole.append(len(processor.tokenizer.encode(prompt)) - 1 + picture_tokens + label)
        labels.append(label)
    whole.sort()
    return {
        "mean": round(mean(whole), 2),
        "p50": median(whole),
        "p95": whole[int(0.95 * (len(whole) - 1))],
        "max": whole[-1],
        "label_mean": round(mean(labels), 2),
        "image_tokens_mean": picture_tokens,
    }


def describe_dataset(rows: list[Row], processor: Qwen2_5_VLProcessor) -> dict[str, Any]:
    """Return what the platform wants to know of a dataset of these rows."""
    return {
        "format": "sharegpt",
        "modalities": ["text", "image"],
        "example_count": len(rows),
        "file_name": FILE_NAME,
        "dataset_info": DATASET_INFO,
        "token_stats": measure_tokens(rows, processor),
        "picture_stats": {"per_example": 1, "width_mean": WIDTH, "height_mean": HEIGHT},
    }
