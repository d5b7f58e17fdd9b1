"""Makes the demonstration's base model: builds it, teaches it to see and to tell in English, and saves it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import torch
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from worker.demonstration.base_model import build_model, build_processor, build_tokenizer
from worker.demonstration.english import TOPICS, build_glossary_line
from worker.demonstration.pictures import draw_patches
from worker.demonstration.scenes import Scene, choose_scene
from worker.demonstration.seeing import look, teach_seeing
from worker.demonstration.telling import encode_opening, teach_telling

SCENE_COUNT = 4000
_SEED = 20260
_THREADS = 2
"""Always the same, as the order of a sum depends on it."""


def make_base_model(folder: Path) -> Qwen2_5_VLForConditionalGeneration:
    """Write the pre-trained model with its tokenizer and processor into `folder`, and return it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(_THREADS)
    torch.manual_seed(_SEED)
    scenes = [choose_scene(seed) for seed in range(SCENE_COUNT)]
    processor = build_processor(build_tokenizer(_list_texts(scenes[:400])))
    model = build_model(processor.tokenizer)
    _pre_train(model, processor, scenes)
    torch.set_num_threads(threads)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model


def _list_texts(scenes: list[Scene]) -> list[str]:
    """What the tokenizer learns its words from, in both languages."""
    random = Random("texts")
    glossary = [build_glossary_line(scene, random) for scene in scenes for _ in TOPICS]
    frame = ["You are a helpful assistant.", "system", "user", "assistant"]
    return [*glossary, *frame * 10]


def _pre_train(
    model: Qwen2_5_VLForConditionalGeneration, processor: Qwen2_5_VLProcessor, scenes: list[Scene]
) -> None:
    model.train()
    tower = model.model.visual
    print(f"drawing {len(scenes)} scenes to pre-train on", flush=True)
    patches = draw_patches(scenes, processor.image_processor)
    grid = encode_opening(processor, scenes[0])["image_grid_thw"]
    teach_seeing(tower, scenes, patches, grid)
    with torch.no_grad():
        seen = torch.cat([look(tower, part, grid) for part in patches.split(100)])
    teach_telling(model, processor, scenes, seen)
    model.eval()
