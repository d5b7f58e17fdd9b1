"""Models and datasets that people start with: listed before they are fetched, with facts that estimates need.

Names, hubs and templates are those of LLaMA-Factory's own tables. `approximate` names the facts that were reckoned or
rounded and not read from the thing itself; fetching replaces them by what is really there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from backend.domain.model_facts import parse_model_facts
from backend.domain.published_models import find_published_config

_DATASETS = Path(__file__).with_name("preset_datasets.json")
_BYTES_PER_PARAMETER = 2
"""All of these are published in bf16."""


@dataclass(frozen=True)
class ModelPreset:
    """A model; `repos` is hub → repository, `shape` the name under which its shape was published.

    `gated` says that the hub gives it only to those who accepted its licence there.
    """

    id: str
    repos: Mapping[str, str]
    architecture: str
    template: str
    modalities: tuple[str, ...]
    licence: str
    shape: str
    description: Mapping[str, str]
    gated: bool = False

    @cached_property
    def config(self) -> dict[str, Any]:
        """What is known of its config.json."""
        return find_published_config(self.shape) or {}

    @property
    def parameters(self) -> int:
        return parse_model_facts(self.config).parameters

    @property
    def size_bytes(self) -> int:
        return self.parameters * _BYTES_PER_PARAMETER

    def build_facts(self) -> dict[str, Any]:
        """Return what its `tuneforge.json` would say."""
        return {
            "source": "preset",
            "name": self.id,
            "architecture": self.architecture,
            "parameters": self.parameters,
            "modalities": list(self.modalities),
            "template": self.template,
            "licence": self.licence,
            "repos": dict(self.repos),
            "gated": self.gated,
            "description": dict(self.description),
            "approximate": ["parameters", "size_bytes"],
        }


@dataclass(frozen=True)
class DatasetPreset:
    """A dataset; `facts` is what its `tuneforge.json` would say, as `estimate.dataset_facts` reads it."""

    id: str
    repos: Mapping[str, str]
    size_bytes: int
    facts: Mapping[str, Any] = field(hash=False)

    @property
    def example_count(self) -> int:
        return int(self.facts["example_count"])

    def build_facts(self) -> dict[str, Any]:
        """Return what its `tuneforge.json` would say."""
        return {"source": "preset", "repos": dict(self.repos), **self.facts}


_QWEN_VL = ("text", "image", "video")
_BOTH = ("huggingface", "modelscope")


def _say(zh: str, en: str) -> dict[str, str]:
    return {"zh": zh, "en": en}


def _name(huggingface: str, modelscope: str | None = None) -> dict[str, str]:
    return dict(zip(_BOTH, (huggingface, modelscope or huggingface), strict=True))


MODELS: tuple[ModelPreset, ...] = (
    ModelPreset(
        "qwen2.5-vl-7b-instruct", _name("Qwen/Qwen2.5-VL-7B-Instruct"), "Qwen2_5_VLForConditionalGeneration",
        "qwen2_vl", _QWEN_VL, "apache-2.0", "qwen2.5-vl-7b",
        _say("能看图片和视频的 70 亿参数对话模型，多模态微调的常用起点。",
             "A 7B chat model that sees pictures and videos: the usual start for multimodal tuning."),
    ),
    ModelPreset(
        "qwen2.5-vl-3b-instruct", _name("Qwen/Qwen2.5-VL-3B-Instruct"), "Qwen2_5_VLForConditionalGeneration",
        "qwen2_vl", _QWEN_VL, "qwen-research", "qwen2.5-vl-3b",
        _say("同系列的 30 亿参数小模型，显存较小时用；许可证限于研究。",
             "Its smaller sibling for less GPU memory; the licence is for research only."),
    ),
    ModelPreset(
        "qwen2-vl-2b-instruct", _name("Qwen/Qwen2-VL-2B-Instruct"), "Qwen2VLForConditionalGeneration",
        "qwen2_vl", _QWEN_VL, "apache-2.0", "qwen2-vl-2b",
        _say("20 亿参数的图文模型，适合快速试验。", "A 2B picture-and-text model for quick trials."),
    ),
    ModelPreset(
        "qwen2.5-0.5b-instruct", _name("Qwen/Qwen2.5-0.5B-Instruct"), "Qwen2ForCausalLM",
        "qwen", ("text",), "apache-2.0", "qwen2.5-0.5b",
        _say("5 亿参数，几分钟就能跑通全流程。", "Half a billion parameters: the whole way in minutes."),
    ),
    ModelPreset(
        "qwen2.5-1.5b-instruct", _name("Qwen/Qwen2.5-1.5B-Instruct"), "Qwen2ForCausalLM",
        "qwen", ("text",), "apache-2.0", "qwen2.5-1.5b",
        _say("15 亿参数的中英文对话模型，一张小显卡即可。",
             "A 1.5B chat model for Chinese and English; one small GPU is enough."),
    ),
    ModelPreset(
        "qwen2.5-7b-instruct", _name("Qwen/Qwen2.5-7B-Instruct"), "Qwen2ForCausalLM",
        "qwen", ("text",), "apache-2.0", "qwen2.5-7b",
        _say("70 亿参数的中英文对话模型，资料最多。",
             "A 7B chat model for Chinese and English, the one most written about."),
    ),
    ModelPreset(
        "qwen2.5-14b-instruct", _name("Qwen/Qwen2.5-14B-Instruct"), "Qwen2ForCausalLM",
        "qwen", ("text",), "apache-2.0", "qwen2.5-14b",
        _say("140 亿参数，LoRA 约需一张 80 GB 显卡。", "14B parameters: LoRA takes about one 80 GB GPU."),
    ),
    ModelPreset(
        "qwen2.5-coder-7b-instruct", _name("Qwen/Qwen2.5-Coder-7B-Instruct"), "Qwen2ForCausalLM",
        "qwen", ("text",), "apache-2.0", "qwen2.5-7b",
        _say("为编程训练的 70 亿参数模型。", "A 7B model taught to program."),
    ),
    ModelPreset(
        "qwen3-4b", _name("Qwen/Qwen3-4B"), "Qwen3ForCausalLM", "qwen3", ("text",), "apache-2.0", "qwen3-4b",
        _say("40 亿参数，可先思考再回答。", "A 4B model that can think before it answers."),
    ),
    ModelPreset(
        "qwen3-8b", _name("Qwen/Qwen3-8B"), "Qwen3ForCausalLM", "qwen3", ("text",), "apache-2.0", "qwen3-8b",
        _say("80 亿参数，可先思考再回答。", "An 8B model that can think before it answers."),
    ),
    ModelPreset(
        "deepseek-r1-distill-qwen-7b", _name("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"), "Qwen2ForCausalLM",
        "deepseekr1", ("text",), "mit", "qwen2.5-7b",
        _say("由 DeepSeek-R1 蒸馏的 70 亿参数推理模型。", "A 7B reasoning model distilled from DeepSeek-R1."),
    ),
    ModelPreset(
        "llama-3.1-8b-instruct",
        _name("meta-llama/Meta-Llama-3.1-8B-Instruct", "LLM-Research/Meta-Llama-3.1-8B-Instruct"),
        "LlamaForCausalLM", "llama3", ("text",), "llama3.1", "llama3.1-8b",
        _say("Meta 的 80 亿参数对话模型；需先在 Hugging Face 接受许可证。",
             "Meta's 8B chat model; its licence has to be accepted on Hugging Face first."),
        gated=True,
    ),
    ModelPreset(
        "llama-3.2-3b-instruct",
        _name("meta-llama/Llama-3.2-3B-Instruct", "LLM-Research/Llama-3.2-3B-Instruct"),
        "LlamaForCausalLM", "llama3", ("text",), "llama3.2", "llama3.2-3b",
        _say("Meta 的 30 亿参数对话模型；需先在 Hugging Face 接受许可证。",
             "Meta's 3B chat model; its licence has to be accepted on Hugging Face first."),
        gated=True,
    ),
    ModelPreset(
        "mistral-7b-instruct-v0.3",
        _name("mistralai/Mistral-7B-Instruct-v0.3", "LLM-Research/Mistral-7B-Instruct-v0.3"),
        "MistralForCausalLM", "mistral", ("text",), "apache-2.0", "mistral-7b",
        _say("Mistral 的 70 亿参数英文对话模型。", "Mistral's 7B chat model for English."),
        gated=True,
    ),
)  # fmt: skip


@lru_cache(maxsize=1)
def list_dataset_presets() -> tuple[DatasetPreset, ...]:
    """Return the datasets, in the order in which they are shown."""
    described = json.loads(_DATASETS.read_text("utf-8"))
    return tuple(
        DatasetPreset(row.pop("id"), row.pop("repos"), row.pop("size_bytes"), row) for row in described
    )


def find_model_preset(name: str) -> ModelPreset | None:
    """Return the preset with this id."""
    return next((preset for preset in MODELS if preset.id == name), None)


def find_dataset_preset(name: str) -> DatasetPreset | None:
    """Return the preset with this id."""
    return next((preset for preset in list_dataset_presets() if preset.id == name), None)
