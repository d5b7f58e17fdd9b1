"""A conversation written out by one of LLaMA-Factory's chat templates (`data/template.py`), as segments of text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from backend.domain.datasets.tools import describe_tools, write_calls

Segments = list[tuple[str, bool]]
"""(text, whether the model learns it)."""
BOS, EOS = "‹bos_token›", "‹eos_token›"
"""What stands for the tokenizer's own special tokens."""


@dataclass
class Turn:
    """One message: its pieces, each of which is tokenized by itself, and whether the model learns it."""

    pieces: list[str]
    learnt: bool


@lru_cache(maxsize=1)
def _load_templates() -> dict[str, dict[str, Any]]:
    text = files("backend.domain.datasets").joinpath("templates.json").read_text("utf-8")
    loaded: dict[str, dict[str, Any]] = json.loads(text)
    return loaded


def list_templates() -> list[str]:
    """Return the names of all templates."""
    return list(_load_templates())


def get_template(name: str) -> dict[str, Any]:
    """Return all that `templates.json` says of a template; raises KeyError for one that is not there."""
    return _load_templates()[name]


def render_conversation(
    messages: list[dict[str, Any]], system: str | None, tools: str | None, name: str
) -> tuple[Segments, bool]:
    """Return the segments and whether they are LLaMA-Factory's to the letter; raises KeyError for no template."""
    turns, exact = write_turns(messages, system, tools, name)
    segments = [("".join(turn.pieces), turn.learnt) for turn in turns]
    template = get_template(name)
    if template["efficient_eos"] and segments:
        segments.append((EOS, True))
    eos = template["eos"] or EOS
    return [(text.replace(EOS, eos), learnt) for text, learnt in segments], exact


def write_turns(
    messages: list[dict[str, Any]],
    system: str | None,
    tools: str | None,
    name: str,
    *,
    last_only: bool = False,
) -> tuple[list[Turn], bool]:
    """Return each message as its template writes it, and whether that is LLaMA-Factory's to the letter.

    Not to the letter are tools and calls of functions in formats that `tools` does not write. `last_only` is how
    pairs and feedback are written: thoughts of earlier answers are left out. The end token of a template with
    `efficient_eos`, which follows the last message, is not among the pieces. Raises KeyError for no template.
    """
    template = get_template(name)
    if last_only and _reasons(template):
        messages = _forget_thoughts(template, messages)
    opening, exact = _write_opening(template, system or template["default_system"], tools, bool(messages))
    turns: list[Turn] = []
    for number, message in enumerate(messages):
        pieces, known = _write_message(template, number, message, opening if number == 0 else "")
        head = template["prefix"] if number == 0 else []
        turns.append(Turn([*head, *pieces], message["role"] in ("assistant", "function")))
        exact = exact and known
    if _reasons(template):
        _add_thoughts(template, messages, turns, last_only)
    return turns, exact


def _write_opening(
    template: dict[str, Any], system: str, tools: str | None, wanted: bool
) -> tuple[list[str] | str, bool]:
    """Return the system prompt with its tools: text for the first message in Llama 2's kind, else pieces before it."""
    fused = template["class"] == "Llama2Template"
    if not wanted or not (system or tools):
        return "" if fused else [], True
    described = describe_tools(tools, template["tool_format"]) if tools else ""
    shown = system + (f"\n{tools}" if described is None else described)
    slots = template["system"][:1] if fused else template["system"]
    pieces = _fill(slots, shown)
    return "".join(pieces) if fused else pieces, described is not None


def _write_message(
    template: dict[str, Any], number: int, message: dict[str, Any], opening: list[str] | str
) -> tuple[list[str], bool]:
    role, content = message["role"], message["content"]
    slots, exact = template.get(role) or template["user"], True
    fused = template["class"] == "Llama2Template"
    if role == "function":
        words = (None, None) if fused else (template["tool_call_words"], template["thought_words"])
        called = write_calls(content, template["tool_format"] or "default", *words)
        content, exact = content if called is None else called, called is not None
    if isinstance(opening, list):
        return [*opening, *_fill(slots, content, number)], exact
    return _fill(slots, (opening if role == "user" else "") + content, number), exact


def _fill(slots: list[str], content: str, number: int = 0) -> list[str]:
    return [slot.replace("{{content}}", content, 1).replace("{{idx}}", str(number // 2), 1) for slot in slots]


# -- thoughts ----------------------------------------------------------------------------------------------


def _reasons(template: dict[str, Any]) -> bool:
    return "Reasoning" in template["class"]


def _forget_thoughts(template: dict[str, Any], messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages without the thoughts of all answers but the last."""
    start, end = map(re.escape, template["thought_words"])
    pattern = re.compile(f"{start}(.*?){end}", re.DOTALL)
    kept = list(messages)
    for number in range(1, len(messages) - 2, 2):
        content = pattern.sub("", messages[number]["content"]).lstrip("\n")
        kept[number] = messages[number] | {"content": content}
    return kept


def _add_thoughts(
    template: dict[str, Any], messages: list[dict[str, Any]], turns: list[Turn], last_only: bool
) -> None:
    """A reasoning template gives an answer without thoughts an empty one, learnt where thinking is on."""
    start, end = template["thought_words"]
    empty = end if template["class"].startswith("Glm47") else start + end
    for number in [len(messages) - 1] if last_only else range(1, len(messages), 2):
        content = messages[number]["content"]
        if start.strip() in content or end.strip() in content:
            continue
        if template["enable_thinking"]:
            turns[number].pieces.insert(0, empty)
        else:
            turns[number - 1].pieces.append(empty)
