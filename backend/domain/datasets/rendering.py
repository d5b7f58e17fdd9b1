"""A conversation written out by one of LLaMA-Factory's chat templates (`data/template.py`), as segments of text."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

Segments = list[tuple[str, bool]]
"""(text, whether the model learns it)."""


@lru_cache(maxsize=1)
def _load_templates() -> dict[str, dict[str, Any]]:
    text = files("backend.domain.datasets").joinpath("templates.json").read_text("utf-8")
    loaded: dict[str, dict[str, Any]] = json.loads(text)
    return loaded


def list_templates() -> list[str]:
    """Return the names of all templates."""
    return list(_load_templates())


def render_conversation(
    messages: list[dict[str, Any]], system: str | None, tools: str | None, name: str
) -> tuple[Segments, bool]:
    """Return the segments and whether they are LLaMA-Factory's to the letter; raises KeyError for no template.

    Not to the letter are descriptions of tools and calls of functions, which templates put into words of their own.
    """
    template = _load_templates()[name]
    system = system or template["default_system"]
    exact = not tools and not any(message["role"] == "function" for message in messages)
    head = "".join(template["prefix"]) if messages else ""
    opening = ""
    if messages and (system or tools):
        slots = template["system"][:1] if template["class"] == "Llama2Template" else template["system"]
        opening = _fill(slots, system + (f"\n{tools}" if tools else ""))
    segments: Segments = []
    for number, message in enumerate(messages):
        segments.append(_write_message(template, number, message, head, opening))
        head = opening = ""
    _add_thoughts(template, messages, segments)
    if template["efficient_eos"] and segments:
        segments.append(("‹eos_token›", True))
    eos = template["eos"] or "‹eos_token›"
    return [(text.replace("‹eos_token›", eos), learnt) for text, learnt in segments], exact


def _write_message(
    template: dict[str, Any], number: int, message: dict[str, Any], head: str, opening: str
) -> tuple[str, bool]:
    role, content = message["role"], message["content"]
    slots = template.get(role) or template["user"]
    if template["class"] == "Llama2Template" and role == "user":
        return head + _fill(slots, opening + content, number), False
    return head + opening + _fill(slots, content, number), role in ("assistant", "function")


def _fill(slots: list[str], content: str, number: int = 0) -> str:
    return "".join(
        slot.replace("{{content}}", content, 1).replace("{{idx}}", str(number // 2), 1) for slot in slots
    )


def _add_thoughts(template: dict[str, Any], messages: list[dict[str, Any]], segments: Segments) -> None:
    """A reasoning template gives an answer without thoughts an empty one, learnt where thinking is on."""
    if "Reasoning" not in template["class"]:
        return
    start, end = template["thought_words"]
    empty = end if template["class"].startswith("Glm47") else start + end
    for number in range(1, len(messages), 2):
        content = messages[number]["content"]
        if start.strip() in content or end.strip() in content:
            continue
        learnt = bool(template["enable_thinking"])
        place = number if learnt else number - 1
        text, was = segments[place]
        segments[place] = (empty + text if learnt else text + empty, was)
