"""One row as LLaMA-Factory 0.9.5 turns it into a conversation (`data/converter.py`), and what is wrong with it.

A row is a dict with None for what it lacks. LLaMA-Factory does one of three things with a bad row: it drops the row
and says so in the log only, it stops the whole run, or it trains on it. `Problem.effect` says which.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Literal

from backend.domain.datasets.mapping import Mapping

Effect = Literal["stops", "drops", "none"]
Message = dict[str, Any]
_SHORT = 60


@dataclass(frozen=True)
class Problem:
    """Something about one row: the code of a finding, what LLaMA-Factory does, which field, and the particulars."""

    code: str
    effect: Effect
    field: str | None
    detail: str
    detail_zh: str


@dataclass
class Conversation:
    """What LLaMA-Factory makes of a row; `response` holds one message, two for a pair or a KTO row, or none."""

    prompt: list[Message] = field(default_factory=list)
    response: list[Message] = field(default_factory=list)
    system: Any = ""
    tools: Any = ""
    images: list[Any] | None = None
    videos: list[Any] | None = None
    audios: list[Any] | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def stops(self) -> bool:
        """Whether LLaMA-Factory stops the whole run at this row."""
        return any(problem.effect == "stops" for problem in self.problems)

    def add(self, code: str, effect: Effect, where: str | None, detail: str, detail_zh: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(code, effect, where, detail, detail_zh))


def convert_row(mapping: Mapping, row: dict[str, Any]) -> Conversation:
    """Return the row as a conversation; what cannot be one is told by its problems."""
    made = Conversation()
    if mapping.formatting == "alpaca":
        _convert_alpaca(mapping, row, made)
    else:
        _convert_messages(mapping, row, made)
    if mapping.formatting != "openai":
        made.tools = row.get(mapping.tools) if mapping.tools else ""
    for kind in ("images", "videos", "audios"):
        column = getattr(mapping, kind)
        if column:
            setattr(made, kind, _list_media(row.get(column)))
    return made


def shorten(value: Any) -> str:
    """Return a value as one short line."""
    text = " ".join(str(value).split())
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


def _list_media(value: Any) -> list[Any] | None:
    if value is None:
        return None
    return (value or None) if isinstance(value, list) else [value]


# -- Alpaca ------------------------------------------------------------------------------------------------


def _convert_alpaca(mapping: Mapping, row: dict[str, Any], made: Conversation) -> None:
    made.system = row.get(mapping.system) if mapping.system else ""
    if mapping.history:
        _add_history(mapping.history, row.get(mapping.history), made)
    question = []
    for column in (mapping.prompt, mapping.query):
        text = row.get(column) if column else None
        if text:
            if not isinstance(text, str):
                made.add(
                    "prompt_not_text",
                    "stops",
                    column,
                    f"It is {_describe(text)}, not text.",
                    f"它是{_describe_zh(text)}，不是文本。",
                )
                return
            question.append(text)
    made.prompt.append({"role": "user", "content": "\n".join(question)})
    _answer_alpaca(mapping, row, made)


def _add_history(column: str, history: Any, made: Conversation) -> None:
    if not isinstance(history, list):
        return
    for number, turn in enumerate(history, start=1):
        if not isinstance(turn, list | str) or len(turn) != 2:
            made.add(
                "history_broken",
                "stops",
                column,
                f"Turn {number} is not a pair [question, answer]: {shorten(turn)}",
                f"第 {number} 轮不是 [问, 答] 一对：{shorten(turn)}",
            )
            return
        made.prompt += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]


def _answer_alpaca(mapping: Mapping, row: dict[str, Any], made: Conversation) -> None:
    label = row.get(mapping.kto_tag) if mapping.kto_tag else None
    answer = row.get(mapping.response) if mapping.response else None
    pair = [row.get(mapping.chosen or ""), row.get(mapping.rejected or "")]
    if isinstance(label, bool):
        made.response = _label([{"role": "assistant", "content": answer}], label)
    elif mapping.ranking and all(isinstance(text, str) for text in pair):
        made.response = [{"role": "assistant", "content": text} for text in pair]
    elif isinstance(answer, str):
        made.response = [{"role": "assistant", "content": answer}]


def _label(answer: list[Message], label: bool) -> list[Message]:
    empty = [{"role": "assistant", "content": ""}]
    return answer + empty if label else empty + answer


# -- messages ----------------------------------------------------------------------------------------------


def _convert_messages(mapping: Mapping, row: dict[str, Any], made: Conversation) -> None:
    roles = _name_roles(mapping)
    messages = _take_messages(mapping, row, made)
    if messages is None:
        return
    first = messages[0] if messages else None
    if first is not None and mapping.system_tag and _get_role(mapping, first) == mapping.system_tag:
        made.system = first.get(mapping.content_tag or "")
        messages = messages[1:]
    else:
        made.system = row.get(mapping.system) if mapping.system else ""
    if mapping.formatting == "openai":
        aligned = _merge_tool_messages(mapping, messages, roles, made)
        if made.stops:
            return
        broken = _find_disorder(aligned, made)
        _finish_openai(mapping, row, made)
    else:
        aligned, broken = _align(mapping, messages, roles, made)
    if len(aligned) % 2 != (1 if mapping.ranking else 0):
        if not broken:
            _report_count(mapping, len(aligned), made)
        broken = True
    if not broken:
        _answer_messages(mapping, row, roles, aligned, made)


def _get_role(mapping: Mapping, message: Message) -> Any:
    """Return a message's role; a list or an object is none that any mapping knows."""
    role = message.get(mapping.role_tag or "")
    return role if isinstance(role, Hashable) else str(role)


def _name_roles(mapping: Mapping) -> dict[Any, str]:
    """Return LLaMA-Factory's role for each tag; of tags that are alike, the last one counts, as there."""
    return {
        mapping.user_tag: "user",
        mapping.assistant_tag: "assistant",
        mapping.observation_tag: "observation",
        mapping.function_tag: "function",
        mapping.system_tag: "system",
    }


def _take_messages(mapping: Mapping, row: dict[str, Any], made: Conversation) -> list[Message] | None:
    column = mapping.messages or ""
    messages = row.get(column)
    if not isinstance(messages, list):
        made.add(
            "messages_missing",
            "stops",
            column,
            f"There is no list of messages; it is {_describe(messages)}.",
            f"没有消息列表，它是{_describe_zh(messages)}。",
        )
        return None
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            made.add(
                "message_not_object",
                "stops",
                f"{column}[{number}]",
                f"A message must be an object with a role and a text; it is {_describe(message)}.",
                f"消息必须是带角色与内容的对象，它是{_describe_zh(message)}。",
            )
            return None
    return messages


def _align(
    mapping: Mapping, messages: list[Message], roles: dict[Any, str], made: Conversation
) -> tuple[list[Message], bool]:
    accepted = (
        (mapping.user_tag, mapping.observation_tag),
        (mapping.assistant_tag, mapping.function_tag),
    )
    aligned: list[Message] = []
    for turn, message in enumerate(messages):
        role = _get_role(mapping, message)
        if role not in accepted[turn % 2]:
            _report_role(mapping, turn, role, roles, made)
            return aligned, True
        aligned.append({"role": roles[role], "content": message.get(mapping.content_tag or "")})
    return aligned, False


def _report_role(mapping: Mapping, turn: int, role: Any, roles: dict[Any, str], made: Conversation) -> None:
    where = f"{mapping.messages}[…].{mapping.role_tag}"
    wanted = (mapping.user_tag, mapping.assistant_tag)[turn % 2]
    if role in roles and role is not None:
        made.add(
            "role_order",
            "drops",
            where,
            f"Turn {turn + 1} is by {role!r}, where {wanted!r} should speak.",
            f"第 {turn + 1} 轮是 {role!r}，此处应为 {wanted!r}。",
        )
    else:
        made.add(
            "role_unknown",
            "drops",
            where,
            f"Turn {turn + 1} is by {shorten(role)!r}, a role that the mapping does not know.",
            f"第 {turn + 1} 轮的角色 {shorten(role)!r} 不在映射中。",
        )


def _report_count(mapping: Mapping, count: int, made: Conversation) -> None:
    column = mapping.messages
    if mapping.ranking:
        made.add(
            "turn_count",
            "drops",
            column,
            f"{count} turns before the pair; it must be an odd number, ending with the question.",
            f"成对回答之前有 {count} 轮；应为奇数，以提问结束。",
        )
    else:
        made.add(
            "turn_count",
            "drops",
            column,
            f"{count} turns; questions and answers must come in pairs, the answer last.",
            f"共 {count} 轮；一问一答须成对，最后一轮应为回答。",
        )


def _answer_messages(
    mapping: Mapping, row: dict[str, Any], roles: dict[Any, str], aligned: list[Message], made: Conversation
) -> None:
    label = row.get(mapping.kto_tag) if mapping.kto_tag else None
    pair = [row.get(mapping.chosen or ""), row.get(mapping.rejected or "")]
    made.prompt, made.response = aligned[:-1], aligned[-1:]
    if isinstance(label, bool):
        made.response = _label(made.response, label)
    elif mapping.ranking and all(isinstance(message, dict) for message in pair):
        made.prompt = aligned
        made.response = _take_pair(mapping, pair, roles, made)


def _take_pair(mapping: Mapping, pair: list[Any], roles: dict[Any, str], made: Conversation) -> list[Message]:
    answers = []
    for name, message in zip((mapping.chosen, mapping.rejected), pair, strict=True):
        role = _get_role(mapping, message)
        if role not in roles:
            made.add(
                "pair_role_unknown",
                "stops",
                f"{name}.{mapping.role_tag}",
                f"The role {shorten(role)!r} is not in the mapping.",
                f"角色 {shorten(role)!r} 不在映射中。",
            )
        answers.append({"role": roles.get(role), "content": message.get(mapping.content_tag or "")})
    return answers


# -- formatting: openai ------------------------------------------------------------------------------------


def _merge_tool_messages(
    mapping: Mapping, messages: list[Message], roles: dict[Any, str], made: Conversation
) -> list[Message]:
    """Several answers of tools in a row become one message; an assistant's `tool_calls` become its text."""
    aligned: list[Message] = []
    answers: list[Any] = []
    for number, message in enumerate(messages):
        role, content = _get_role(mapping, message), message.get(mapping.content_tag or "")
        calls = message.get("tool_calls")
        if role in (mapping.assistant_tag, mapping.function_tag) and calls:
            role = mapping.function_tag
            content = json.dumps([call.get("function") for call in calls], ensure_ascii=False)
        if role == mapping.observation_tag:
            answers.append(content)
            continue
        if answers:
            merged = "\n</tool_response>\n<tool_response>\n".join(str(answer) for answer in answers)
            aligned.append({"role": "observation", "content": merged})
            answers = []
        if role not in roles:
            made.add(
                "role_unknown",
                "stops",
                f"{mapping.messages}[{number}].{mapping.role_tag}",
                f"The role {shorten(role)!r} is not in the mapping.",
                f"角色 {shorten(role)!r} 不在映射中。",
            )
            return aligned
        aligned.append({"role": roles[role], "content": content})
    return aligned


def _find_disorder(aligned: list[Message], made: Conversation) -> bool:
    accepted = (("user", "observation"), ("assistant", "function"))
    for turn, message in enumerate(aligned):
        if message["role"] not in accepted[turn % 2]:
            made.add(
                "role_order",
                "drops",
                None,
                f"Turn {turn + 1} is by {message['role']!r}, out of turn.",
                f"第 {turn + 1} 轮是 {message['role']!r}，次序不对。",
            )
            return True
    return False


def _finish_openai(mapping: Mapping, row: dict[str, Any], made: Conversation) -> None:
    """Do what only the `openai` formatting does: tools may be objects, and a system prompt is put in or added to."""
    tools = row.get(mapping.tools) if mapping.tools else ""
    made.tools = json.dumps(tools, ensure_ascii=False) if isinstance(tools, dict | list) else tools
    if not made.system:
        made.system = "" if made.tools else "detailed thinking off"
    elif isinstance(made.system, str):
        known = "detailed thinking on" in made.system or "detailed thinking off" in made.system
        made.system += "\n" if made.tools else "" if known else "\ndetailed thinking off"


def _describe(value: Any) -> str:
    return {type(None): "null", bool: "a truth value", int: "a number", float: "a number", str: "text"}.get(
        type(value), "a list" if isinstance(value, list) else "an object"
    )


def _describe_zh(value: Any) -> str:
    return {type(None): "空值", bool: "布尔值", int: "数字", float: "数字", str: "文本"}.get(
        type(value), "列表" if isinstance(value, list) else "对象"
    )
