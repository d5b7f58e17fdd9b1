"""LLaMA-Factory's own table of models: their names, templates, modalities and where hubs have them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from backend.domain.model_facts import ModelFacts, parse_model_facts
from backend.domain.published_models import find_published_config

_TABLE = Path(__file__).with_name("models.json")
_SIZE = re.compile(r"(?<![A-Za-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([BM])(?![A-Za-z])", re.IGNORECASE)
_BYTES_PER_PARAMETER = 2
DEFAULT_TEMPLATE = "default"
_TYPE_TEMPLATES = {
    "qwen2": "qwen",
    "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_vl",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3",
    "qwen3_vl": "qwen3_vl",
    "llama": "llama3",
    "mistral": "mistral",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "glm4": "glm4",
    "phi3": "phi",
    "internvl": "intern_vl",
}
"""What most models of a type talk by, for one whose name LLaMA-Factory does not know."""


@dataclass(frozen=True)
class CatalogueModel:
    """One row of the table; `template` is None for base models, which have none of their own."""

    name: str
    template: str | None
    modalities: tuple[str, ...]
    repos: dict[str, str]

    @property
    def family(self) -> str:
        return re.split(r"[-_]", self.name, maxsplit=1)[0]

    @cached_property
    def config(self) -> dict[str, Any] | None:
        """What was published of its config.json; None where only its name is known."""
        names = [self.name, *self.repos.values()]
        return next(filter(None, map(find_published_config, names)), None)

    @property
    def approximate(self) -> bool:
        """Whether its size is read from its name alone."""
        return self.config is None

    @cached_property
    def facts(self) -> ModelFacts | None:
        """Its shape: as published, or of the usual proportions by the size in its name; None without either."""
        if self.config is not None:
            return parse_model_facts(self.config)
        size = parse_size(self.name) or next(filter(None, map(parse_size, self.repos.values())), None)
        return parse_model_facts({}, size) if size else None

    @property
    def size_bytes(self) -> int | None:
        """What its weights take in bf16; None for a quantised one, whose width its name does not tell."""
        if self.facts is None or self.is_quantised:
            return None
        return self.facts.parameters * _BYTES_PER_PARAMETER

    @property
    def is_quantised(self) -> bool:
        return re.search(r"gptq|awq|int[48]|fp8|[48]bit|mxfp4|nvfp4", self.name, re.IGNORECASE) is not None


def parse_size(name: str) -> int | None:
    """Return the parameters that a name tells of (`Qwen2.5-VL-7B` → 7·10⁹, `Mixtral-8x7B` → 56·10⁹), or None.

    The largest counts: of `Qwen3-30B-A3B` all thirty billion have to be loaded.
    """
    found = [
        int(count or 1) * float(number) * (1e9 if unit in "bB" else 1e6)
        for count, number, unit in _SIZE.findall(name)
    ]
    sizes = [int(value) for value in found if 1e6 <= value <= 2e12]
    return max(sizes, default=None)


@lru_cache(maxsize=1)
def list_catalogue() -> tuple[CatalogueModel, ...]:
    """Return the whole table in LLaMA-Factory's order."""
    described = json.loads(_TABLE.read_text("utf-8"))
    return tuple(
        CatalogueModel(row["name"], row["template"], tuple(row["modalities"]), row["repos"])
        for row in described["models"]
    )


def search_catalogue(words: str | None, modality: str | None) -> list[CatalogueModel]:
    """Return the models whose name or repositories hold every one of `words`, and that read `modality`."""
    wanted = (words or "").lower().split()
    return [
        model
        for model in list_catalogue()
        if (modality is None or modality in model.modalities)
        and all(word in " ".join([model.name, *model.repos.values()]).lower() for word in wanted)
    ]


def find_catalogue_model(name: str) -> CatalogueModel | None:
    """Return the model that a folder's or a repository's name means (its last part, in any case), or None."""
    return _index_names().get(_plain(name))


@lru_cache(maxsize=1)
def _index_names() -> dict[str, CatalogueModel]:
    index: dict[str, CatalogueModel] = {}
    for model in list_catalogue():
        for name in (model.name, *model.repos.values()):
            index.setdefault(_plain(name), model)
    return index


def _plain(name: str) -> str:
    return name.rsplit("/", 1)[-1].lower().replace("_", "-")


def guess_template(name: str, config: dict[str, Any]) -> str:
    """Return the template LLaMA-Factory has for a model of this name, else of this type, else `default`."""
    known = find_catalogue_model(name)
    if known is not None and known.template is not None:
        return known.template
    return _TYPE_TEMPLATES.get(str(config.get("model_type")), DEFAULT_TEMPLATE)


def guess_modalities(config: dict[str, Any]) -> list[str]:
    """Return what a model reads, by the parts that its config.json has."""
    vision = isinstance(config.get("vision_config"), dict)
    sees_videos = vision and (
        "video_token_id" in config or str(config.get("model_type")).startswith(("qwen2_vl", "qwen2_5_vl"))
    )
    hears = isinstance(config.get("audio_config"), dict)
    kinds = {"text": True, "image": vision, "video": sees_videos, "audio": hears}
    return [kind for kind, has in kinds.items() if has]
