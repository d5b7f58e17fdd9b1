"""Second part of the pre-training: the language model learns to tell in English what the tower sees.

It also reads a glossary of English and Chinese, without pictures: a base model knows the language it is tuned to
answer in, and LoRA, which leaves the embeddings as they are, could hardly teach the words as well.

Every other conversation numbers the picture's tokens as if they were text. LLaMA-Factory 0.9.5 trains Qwen2.5-VL with
the picture's rows and columns in the positions, but predicts without them on transformers 5: its data collator has no
model then, and `generate` gets no `mm_token_type_ids` to find the picture by. A model used to both is not led astray.
"""

from __future__ import annotations

from random import Random

import torch
from torch.nn import functional
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from worker.demonstration.base_model import END_OF_TEXT
from worker.demonstration.drawing import draw_scene
from worker.demonstration.english import build_conversation, build_glossary_line
from worker.demonstration.scenes import Scene
from worker.demonstration.schedule import train

STEPS = 500
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
GLOSSARY_EVERY, GLOSSARY_ROWS, GLOSSARY_LINES = 2, 16, 2
"""In every second step, 16 rows of two lines of the glossary are read as well."""

_LONGEST_CONVERSATION = 256
_NOT_LEARNED = -100

Row = tuple[list[int], list[int]]
"""The tokens of a text, and the same where the model shall learn to say them, else `_NOT_LEARNED`."""


class Lessons:
    """Conversations about pictures, given the tokens that the frozen tower made of them, and the glossary."""

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
        self.random = Random("lessons")
        self.steps = 0
        opening = encode_opening(processor, scenes[0])
        self.opening = opening["input_ids"][0].tolist()
        is_picture = opening["input_ids"] == model.config.image_token_id
        self.first_picture_token = int(is_picture[0].int().argmax())
        room = torch.zeros(1, _LONGEST_CONVERSATION, dtype=torch.long)
        self.positions, _ = model.model.get_rope_index(
            torch.cat([opening["input_ids"], room], dim=1),
            torch.cat([is_picture.long(), room], dim=1).int(),
            opening["image_grid_thw"],
        )

    def compute_loss(self, batch: list[int]) -> torch.Tensor:
        """Return the loss of one conversation each about the scenes of `batch`, and now and then of the glossary."""
        conversations = [build_conversation(self.scenes[index], self.random) for index in batch]
        loss = self._compute_loss(
            [self.encode_conversation(turns) for turns in conversations], self.seen[batch]
        )
        if self.steps % GLOSSARY_EVERY == 0:
            loss = loss + self._compute_loss([self._draw_glossary() for _ in range(GLOSSARY_ROWS)])
        self.steps += 1
        return loss

    def encode_conversation(self, turns: list[tuple[str, str]]) -> Row:
        """Return the row of a conversation about a picture, as the chat template writes it."""
        ids, labels = list(self.opening), [_NOT_LEARNED] * len(self.opening)
        for number, (question, answer) in enumerate(turns):
            before = "" if number == 0 else "\n<|im_start|>user\n"
            asked = self.tokenizer.encode(f"{before}{question}<|im_end|>\n<|im_start|>assistant\n")
            told = self.tokenizer.encode(f"{answer}<|im_end|>")
            ids += asked + told
            labels += [_NOT_LEARNED] * len(asked) + told
        return ids, labels

    def _draw_glossary(self) -> Row:
        scenes = self.random.choices(self.scenes, k=GLOSSARY_LINES)
        lines = [build_glossary_line(scene, self.random) for scene in scenes]
        ids = self.tokenizer.encode(END_OF_TEXT + "\n".join(lines))
        return ids, [_NOT_LEARNED, *ids[1:]]

    def _compute_loss(
        self, rows: list[Row], seen: torch.Tensor | None = None, positions: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The model's own forward pass without the tower, and without the logits that teach nothing."""
        language_model = self.model.model.language_model
        ids = _pad([ids for ids, _ in rows], self.tokenizer.pad_token_id)
        labels = _pad([labels for _, labels in rows], _NOT_LEARNED)[:, 1:]
        embedded = language_model.embed_tokens(ids)
        if seen is not None:
            start, stop = self.first_picture_token, self.first_picture_token + seen.shape[1]
            embedded = torch.cat([embedded[:, :start], seen, embedded[:, stop:]], dim=1)
        if positions is not None:
            positions = positions[:, :, : ids.shape[1]].expand(-1, len(ids), -1)
        hidden = language_model(inputs_embeds=embedded, position_ids=positions, use_cache=False)
        is_learned = labels != _NOT_LEARNED
        logits = self.model.lm_head(hidden.last_hidden_state[:, :-1][is_learned])
        return functional.cross_entropy(logits, labels[is_learned])


def _pad(rows: list[list[int]], value: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in rows], batch_first=True, padding_value=value
    )


def encode_opening(processor: Qwen2_5_VLProcessor, scene: Scene) -> dict[str, torch.Tensor]:
    """Return the processor's tensors of a conversation about the picture of `scene`, up to the first question."""
    text = processor.apply_chat_template([{"role": "user", "content": [{"type": "image"}]}])
    opening = text.removesuffix("<|im_end|>\n")
    return dict(processor(text=[opening], images=[draw_scene(scene)], return_tensors="pt"))


def teach_telling(
    model: Qwen2_5_VLForConditionalGeneration,
    processor: Qwen2_5_VLProcessor,
    scenes: list[Scene],
    seen: torch.Tensor,
) -> None:
    """Train the language model of `model` in place; `seen` (scenes, tokens, width) is what its tower sees."""
    train(
        "learning to tell",
        model.model.language_model.parameters(),
        Lessons(model, processor, scenes, seen).compute_loss,
        scene_count=len(scenes),
        steps=STEPS,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
    )
