"""Which form a dataset has, guessed from some of its rows: columns, roles, and LLaMA-Factory's mapping for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from backend.domain.datasets.mapping import Mapping

_MESSAGES = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "turns")
_PROMPTS = (
    "instruction",
    "prompt",
    "question",
    "query",
    "input",
    "user",
    "problem",
    "human",
    "Question",
    "问题",
    "指令",
)
_ANSWERS = (
    "output",
    "response",
    "answer",
    "completion",
    "assistant",
    "target",
    "solution",
    "gpt",
    "Answer",
    "Response",
    "回答",
    "答案",
)
_TEXTS = ("text", "content", "document", "raw_content", "文本", "内容")
_KNOWN = {
    "system": ("system", "system_prompt"),
    "tools": ("tools", "functions"),
    "history": ("history",),
    "images": ("images", "image", "image_path", "img", "image_paths", "pictures"),
    "videos": ("videos", "video", "video_path"),
    "audios": ("audios", "audio", "audio_path"),
    "chosen": ("chosen", "preferred", "accepted", "response_chosen"),
    "rejected": ("rejected", "dispreferred", "response_rejected"),
    "kto_tag": ("kto_tag", "label", "completion_label"),
}
_ROLES = {
    "user_tag": ("user", "human", "User", "USER", "prompter", "用户"),
    "assistant_tag": ("assistant", "gpt", "Assistant", "model", "bot", "chatgpt", "bard", "助手"),
    "observation_tag": ("observation", "tool", "ipython", "function", "function_response"),
    "function_tag": ("function_call", "tool_call", "function"),
    "system_tag": ("system", "System"),
}
_ROLE_KEYS = ("role", "from", "speaker")
_CONTENT_KEYS = ("content", "value", "text", "message")


@dataclass
class Recognised:
    """A guess: the mapping, what it is called, and how sure it is (0 to 1)."""

    mapping: Mapping
    name: str
    confidence: float
    alternatives: list[Mapping] = field(default_factory=list)


def recognise_rows(file_name: str, rows: Sequence[dict[str, Any]]) -> Recognised | None:
    """Return what a file of such rows most likely is, or None for what has no text in it."""
    columns = _list_columns(rows)
    found: dict[str, Any] = dict.fromkeys(("prompt", "query", "response", "history", "messages"))
    base = replace(Mapping(file_name), **(found | _find_known(rows, columns)))
    guesses = [
        guess
        for guess in (_guess_messages(base, rows, columns), *_guess_columns(base, rows, columns))
        if guess
    ]
    if not guesses:
        return None
    best = max(guesses, key=lambda guess: guess.confidence)
    best.alternatives = [guess.mapping for guess in guesses if guess is not best]
    return best


def _list_columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(name) for row in rows for name in row))


def _list_values(rows: Sequence[dict[str, Any]], column: str) -> list[Any]:
    return [row[column] for row in rows if row.get(column) is not None]


def _share(values: Sequence[Any], wanted: type | tuple[type, ...]) -> float:
    return sum(isinstance(value, wanted) for value in values) / len(values) if values else 0.0


def _find_known(rows: Sequence[dict[str, Any]], columns: list[str]) -> dict[str, str]:
    found = {}
    for name, usual in _KNOWN.items():
        column = next((column for column in usual if column in columns), None)
        if column is None:
            continue
        values = _list_values(rows, column)
        if name == "kto_tag" and not _share(values, bool) > 0.5:
            continue
        if name == "history" and not _share(values, list) > 0.5:
            continue
        if name == "system" and not _share(values, str) > 0.5:
            continue
        if (
            name in ("images", "videos", "audios")
            and values
            and _share(values, (str, list, dict, bytes)) < 0.5
        ):
            continue
        found[name] = column
    if not {"chosen", "rejected"} <= set(found):
        found.pop("chosen", None)
        found.pop("rejected", None)
    return found


# -- messages ----------------------------------------------------------------------------------------------


def _guess_messages(base: Mapping, rows: Sequence[dict[str, Any]], columns: list[str]) -> Recognised | None:
    ordered = [name for name in _MESSAGES if name in columns] + [
        name for name in columns if name not in _MESSAGES
    ]
    for column in ordered:
        if column in (base.images, base.videos, base.audios, base.history):
            continue
        messages = [
            message
            for value in _list_values(rows, column)
            if isinstance(value, list)
            for message in value
            if isinstance(message, dict)
        ]
        pairs = [value for name in (base.chosen, base.rejected) if name for value in _list_values(rows, name)]
        answers = [value for value in pairs if isinstance(value, dict)]
        tags = _find_tags(messages + answers) if messages else None
        if tags:
            return _finish_messages(replace(base, messages=column, formatting="sharegpt", **tags), rows)
    return None


def _find_tags(messages: list[dict[str, Any]]) -> dict[str, Any] | None:
    keys = Counter(key for message in messages for key in message)
    role = next((key for key in _ROLE_KEYS if key in keys), None)
    content = next((key for key in _CONTENT_KEYS if key in keys and key != role), None)
    if role is None or content is None:
        return None
    used = Counter(str(message.get(role)) for message in messages)
    tags: dict[str, Any] = {"role_tag": role, "content_tag": content}
    taken: set[str] = set()
    for tag, usual in _ROLES.items():
        name = next((name for name in usual if name in used and name not in taken), None)
        tags[tag] = name or next(name for name in usual if name not in taken)
        taken.add(str(tags[tag]))
    return tags


def _finish_messages(mapping: Mapping, rows: Sequence[dict[str, Any]]) -> Recognised:
    name = "openai" if mapping.role_tag == "role" else "sharegpt"
    if mapping.chosen and _share(_list_values(rows, mapping.chosen), dict) > 0.5:
        return Recognised(replace(mapping, ranking=True, kto_tag=None), "preference", 0.95)
    plain = replace(mapping, chosen=None, rejected=None)
    if plain.kto_tag:
        return Recognised(plain, "kto", 0.95)
    return Recognised(plain, name, 0.95)


# -- columns -----------------------------------------------------------------------------------------------


def _guess_columns(
    base: Mapping, rows: Sequence[dict[str, Any]], columns: list[str]
) -> list[Recognised | None]:
    taken = {getattr(base, name) for name in _KNOWN}
    texts = [name for name in columns if name not in taken and _share(_list_values(rows, name), str) > 0.5]
    alpaca = replace(base, formatting="alpaca")
    return [
        _guess_pair(alpaca, rows, texts),
        _guess_answer(alpaca, texts),
        _guess_text(alpaca, texts),
    ]


def _pick(usual: Sequence[str], texts: list[str]) -> str | None:
    return next((name for name in usual if name in texts), None)


def _find_question(texts: list[str]) -> tuple[str | None, str | None]:
    prompt = _pick(_PROMPTS, texts)
    query = "input" if prompt != "input" and "input" in texts else None
    return prompt, query


def _guess_pair(base: Mapping, rows: Sequence[dict[str, Any]], texts: list[str]) -> Recognised | None:
    prompt, query = _find_question(texts)
    if not base.chosen or not prompt or _share(_list_values(rows, base.chosen), str) <= 0.5:
        return None
    return Recognised(
        replace(base, prompt=prompt, query=query, ranking=True, kto_tag=None), "preference", 0.9
    )


def _guess_answer(base: Mapping, texts: list[str]) -> Recognised | None:
    prompt, query = _find_question(texts)
    answer = _pick(_ANSWERS, [name for name in texts if name not in (prompt, query)])
    if not prompt or not answer:
        return None
    mapping = replace(base, prompt=prompt, query=query, response=answer, chosen=None, rejected=None)
    usual = prompt == "instruction" and answer == "output"
    return Recognised(mapping, "kto" if mapping.kto_tag else "alpaca", 0.9 if usual or base.kto_tag else 0.75)


def _guess_text(base: Mapping, texts: list[str]) -> Recognised | None:
    column = _pick(_TEXTS, texts) or (texts[0] if len(texts) == 1 else None)
    if column is None:
        return None
    plain = dict.fromkeys(("chosen", "rejected", "kto_tag", "system", "tools", "history"))
    mapping = replace(base, prompt=column, **plain)  # type: ignore[arg-type]
    return Recognised(mapping, "text", 0.7 if column in _TEXTS else 0.4)
