"""Write LLaMA-Factory's chat templates, and its texts about tools, as plain values into backend/domain/datasets (make
templates): `templates.json` and `tool_prompts.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llamafactory.data import tool_utils
from llamafactory.data.template import TEMPLATES

_TARGET = Path(__file__).parents[1] / "backend" / "domain" / "datasets"
_PROMPTS = {
    "default": tool_utils.DEFAULT_TOOL_PROMPT,
    "glm4": tool_utils.GLM4_TOOL_PROMPT,
    "glm4_moe": tool_utils.GLM4_MOE_TOOL_PROMPT,
    "ling": tool_utils.LING_TOOL_PROMPT + "\ndetailed thinking off",
    "llama3": tool_utils.LLAMA3_TOOL_PROMPT,
    "qwen": tool_utils.QWEN_TOOL_PROMPT,
    "qwen3_5": tool_utils.QWEN35_TOOL_PROMPT,
}
"""Of these formats and of `mistral`, which has no such text, the platform writes tools as LLaMA-Factory does."""


def describe_slots(formatter: Any) -> list[str]:
    """Return a formatter's slots; a special token is written in angle quotes."""
    return [slot if isinstance(slot, str) else _describe_special(slot) for slot in formatter.slots]


def _describe_special(slot: Any) -> str:
    if isinstance(slot, dict):
        return str(slot["token"])
    name = next(iter(slot))
    return f"‹{name}›" if name in ("bos_token", "eos_token") else ""  # LLaMA-Factory passes over any other


def describe_template(template: Any) -> dict[str, Any]:
    """Return all of a template that decides how a conversation is written."""
    parts = ("user", "assistant", "system", "function", "observation", "prefix")
    slots = {part: describe_slots(getattr(template, f"format_{part}")) for part in parts}
    plugin = template.mm_plugin
    media = {"images": plugin.image_token, "videos": plugin.video_token, "audios": plugin.audio_token}
    return slots | {
        "class": type(template).__name__,
        "tool_format": template.format_tools.tool_format,
        "default_system": template.default_system,
        "thought_words": list(template.thought_words),
        "tool_call_words": list(template.tool_call_words),
        "enable_thinking": template.enable_thinking,
        "efficient_eos": template.efficient_eos,
        "eos": template.stop_words[0] if template.replace_eos and template.stop_words else None,
        "stop_words": list(template.stop_words),
        "media": [kind for kind, token in media.items() if token],
        "picture": describe_picture(plugin),
        "picture_rule": "qwen" if type(plugin).__name__ in ("Qwen2VLPlugin", "Qwen3VLPlugin") else None,
    }


def describe_picture(plugin: Any) -> list[str] | None:
    """Return what stands before a picture, once for each of its tokens, and behind it."""
    if not plugin.image_token:
        return None
    return [
        getattr(plugin, "vision_bos_token", ""),
        plugin.image_token,
        getattr(plugin, "vision_eos_token", ""),
    ]


def write(name: str, table: dict[str, Any]) -> None:
    """Write one file."""
    (_TARGET / name).write_text(json.dumps(table, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write("templates.json", {name: describe_template(one) for name, one in sorted(TEMPLATES.items())})
    write("tool_prompts.json", _PROMPTS)
