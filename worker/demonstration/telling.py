"""Second part of the pre-training: the language model learns to tell in English what the tower sees."""

from __future__ import annotations

from random import Random

import torch
from torch.nn import functional
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from worker.demonstration.captions import DESCRIBE, build_caption
from worker.demonstration.drawing import draw_scene
from worker.demonstration.scenes import Scene
from worker.demonstration.schedule import train

STEPS = 250
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
_LONGEST_CAPTION = 256


class CaptionLoss:
    """The loss of English captions, given the tokens the frozen tower made of the pictures."""

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        processor: Qwen2_5_VLProcessor,
        scenes: list[Scene],
        seen: torch.Tensor,
    ) -> None:
        self.model = model
        self.tokenizer = processor.tokenizer
        self.scenes = scenes
        self.seen = seen
        self.random = Random("captions")
        prompt = build_prompt(processor, scenes[0])
        self.prompt = prompt["input_ids"][0].tolist()
        is_image = prompt["input_ids"] == model.config.image_token_id
        self.first_image_token = int(is_image[0].int().argmax())
        room = torch.zeros(1, _LONGEST_CAPTION, dtype=torch.long)
        self.positions, _ = model.model.get_rope_index(
            torch.cat([prompt["input_ids"], room], dim=1),
            torch.cat([is_image.long(), room], dim=1).int(),
            prompt["image_grid_thw"],
        )

    def __call__(self, batch: list[int]) -> torch.Tensor:
        """Return the mean loss over the tokens of one caption each of the scenes of `batch`."""
        end = self.tokenizer.eos_token_id
        captions = [
            torch.tensor([*self.tokenizer.encode(build_caption(self.scenes[index], self.random)), end])
            for index in batch
        ]
        padding = self.tokenizer.pad_token_id
        answers = torch.nn.utils.rnn.pad_sequence(captions, batch_first=True, padding_value=padding)
        prompts = torch.tensor(self.prompt).expand(len(batch), -1)
        logits = self.compute_logits(torch.cat([prompts, answers], dim=1), self.seen[batch])
        return functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=padding)

    def compute_logits(self, ids: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Return what the model expects after the prompt, (rows, tokens after the prompt, vocabulary).

        This is the model's own forward pass without the tower, and without the logits of the prompt.
        """
        language_model = self.model.model.language_model
        embedded = language_model.embed_tokens(ids)
        start, stop = self.first_image_token, self.first_image_token + seen.shape[1]
        embedded = torch.cat([embedded[:, :start], seen, embedded[:, stop:]], dim=1)
        positions = self.positions[:, :, : ids.shape[1]].expand(-1, len(ids), -1)
        hidden = language_model(inputs_embeds=embedded, position_ids=positions, use_cache=False)
        return self.model.lm_head(hidden.last_hidden_state[:, len(self.prompt) - 1 : -1])


def build_prompt(processor: Qwen2_5_VLProcessor, scene: Scene) -> dict[str, torch.Tensor]:
    """Return the processor's tensors of the request to describe the picture of `scene`."""
    content = [{"type": "image"}, {"type": "text", "text": DESCRIBE}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return dict(processor(text=[text], images=[draw_scene(scene)], return_tensors="pt"))


def teach_telling(
    model: Qwen2_5_VLForConditionalGeneration,
    processor: Qwen2_5_VLProcessor,
    scenes: list[Scene],
    seen: torch.Tensor,
) -> None:
    """Train the language model of `model` in place on captions; `seen` (scenes, tokens, width) is constant."""
    train(
        "learning to describe",
        model.model.language_model.parameters(),
        CaptionLoss(model, processor, scenes, seen),
        scene_count=len(scenes),
        steps=STEPS,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
    )
