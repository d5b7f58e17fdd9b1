"""Write backend/domain/datasets/templates.json: LLaMA-Factory's chat templates as plain values (make templates)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llamafactory.data.template import TEMPLATES

_TARGET = Path(__file__).parents[1] / "backend" / "domain" / "datasets" / "templates.json"


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
        "enable_thinking": template.enable_thinking,
        "efficient_eos": template.efficient_eos,
        "eos": template.stop_words[0] if template.replace_eos and template.stop_words else None,
        "media": [kind for kind, token in media.items() if token],
    }


if __name__ == "__main__":
    table = {name: describe_template(template) for name, template in sorted(TEMPLATES.items())}
    _TARGET.write_text(json.dumps(table, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
