"""What LLaMA-Factory 0.9.5 does with a converted row in each stage (`data/processor/*.py`, `data/formatter.py`)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from backend.domain.datasets.conversation import Conversation, Message, shorten

PLACEHOLDERS = {"images": "<image>", "videos": "<video>", "audios": "<audio>"}
_KIND_ZH = {"images": "图片", "videos": "视频", "audios": "音频"}
_THOUGHT = re.compile(r"<think>\n(.*?)\n</think>\n\n", re.DOTALL)
_TOOL_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


@dataclass(frozen=True)
class Judge:
    """How rows are to be used: the stage, and which media the model takes (None: it is not known).

    A model that takes no pictures reads `<image>` as plain text, but refuses a row that brings pictures. One that
    takes some kind of media wants as many placeholders as there are media, of every kind.
    """

    stage: str
    accepts: frozenset[str] | None = None

    def judge(self, row: Conversation) -> None:
        """Add to `row.problems` what makes LLaMA-Factory drop the row or stop, and what only hurts."""
        if row.stops:
            return
        if self.stage == "pt":
            self._judge_text(row)
        elif self._is_complete(row):
            messages = self._list_used(row)
            _check_contents(messages, row)
            _check_system(row)
            _check_tools(row)
            self._check_media(messages, row)
            _warn_of_emptiness(row)

    def _judge_text(self, row: Conversation) -> None:
        """Pre-training reads the first message only, of every row, whatever is wrong with it."""
        if not row.prompt:
            row.add(
                "nothing_to_read",
                "stops",
                None,
                "The row has no text that pre-training could read.",
                "这一行没有可用于预训练的文本。",
            )
        elif not isinstance(row.prompt[0]["content"], str):
            _report_content(row.prompt[0], row)
        elif not row.prompt[0]["content"].strip():
            row.add("prompt_empty", "none", None, "The text is empty.", "文本为空。")

    def _is_complete(self, row: Conversation) -> bool:
        """Whether the row has as many messages as the stage wants; if not, the row is dropped, and that is noted."""
        known = any(problem.effect == "drops" for problem in row.problems)
        asked = len(row.prompt) % 2 == 1
        if self.stage in ("rm", "dpo", "kto"):
            answered = len(row.response) == 2
        else:
            answered = self.stage == "ppo" or len(row.response) == 1
        if asked and answered:
            return True
        if not known:
            self._report_incomplete(row, asked)
        return False

    def _report_incomplete(self, row: Conversation, asked: bool) -> None:
        if not asked and not row.prompt and self.stage not in ("rm", "dpo"):
            row.add("messages_empty", "drops", None, "There are no messages.", "没有任何消息。")
        elif self.stage == "kto":
            row.add(
                "label_missing",
                "drops",
                None,
                "The label is neither true nor false.",
                "标签既不是 true 也不是 false。",
            )
        elif self.stage in ("rm", "dpo"):
            row.add(
                "pair_missing",
                "drops",
                None,
                "The preferred or the rejected answer is missing or has the wrong form.",
                "缺少偏好或被拒绝的回答，或其形式不对。",
            )
        else:
            row.add(
                "answer_missing", "drops", None, "There is no answer that is text.", "没有文本形式的回答。"
            )

    def _list_used(self, row: Conversation) -> list[Message]:
        """Return the messages that reach the template."""
        if self.stage == "kto":
            wanted = row.response[0] if row.response[0]["content"] else row.response[1]
            return [*row.prompt, wanted]
        return [*row.prompt, *row.response]

    def _check_media(self, messages: list[Message], row: Conversation) -> None:
        for kind in PLACEHOLDERS:
            media = getattr(row, kind) or []
            if media and self.accepts is not None and kind not in self.accepts:
                row.add(
                    "media_unsupported",
                    "stops",
                    kind,
                    f"The row has {kind}, which this model does not take.",
                    f"这一行带有{_KIND_ZH[kind]}，该模型不支持。",
                )
                return
        texts = self._pick_counted(messages, row)
        for kind, placeholder in PLACEHOLDERS.items():
            media = getattr(row, kind) or []
            for text in texts:
                found = text.count(placeholder)
                if found != len(media):
                    self._report_placeholders(kind, placeholder, found, row)
                    break

    def _pick_counted(self, messages: list[Message], row: Conversation) -> list[str]:
        """Return the texts in which placeholders are counted: one, or for a pair one with each answer."""
        texts = [str(message["content"]) for message in messages]
        if self.stage in ("rm", "dpo"):
            asked = "".join(texts[:-2])
            return [asked + texts[-2], asked + texts[-1]]
        return ["".join(texts)]

    def _report_placeholders(self, kind: str, placeholder: str, found: int, row: Conversation) -> None:
        count = len(getattr(row, kind) or [])
        harmless = not count and not self.accepts
        row.add(
            "placeholder_alone" if harmless else "placeholder_count",
            "none" if harmless else "stops",
            kind,
            f"{found} × {placeholder} in the text, but {count} in {kind}.",
            f"文本中有 {found} 个 {placeholder}，而{_KIND_ZH[kind]}有 {count} 个。",
        )


def _check_contents(messages: list[Message], row: Conversation) -> None:
    for number, message in enumerate(messages):
        content = message["content"]
        if not isinstance(content, str):
            _report_content(message, row, number + 1)
        elif message["role"] == "function":
            fault = _find_call_fault(content)
            if fault:
                row.add(
                    "function_call_broken",
                    "stops",
                    None,
                    f"Turn {number + 1}: {fault[0]}",
                    f"第 {number + 1} 轮：{fault[1]}",
                )
        elif message["role"] == "system":
            row.add(
                "role_unknown",
                "stops",
                None,
                f"Turn {number + 1} has a role that templates do not know.",
                f"第 {number + 1} 轮的角色不被模板支持。",
            )


def _report_content(message: Message, row: Conversation, turn: int = 1) -> None:
    content = message["content"]
    if content is None:
        row.add(
            "content_missing",
            "stops",
            None,
            f"Turn {turn} ({message['role']}) has no text.",
            f"第 {turn} 轮（{message['role']}）没有文本。",
        )
    else:
        row.add(
            "content_not_text",
            "stops",
            None,
            f"Turn {turn} ({message['role']}) is not text: {shorten(content)}",
            f"第 {turn} 轮（{message['role']}）不是文本：{shorten(content)}",
        )


def _find_call_fault(content: str) -> tuple[str, str] | None:
    """Return what is wrong with a call of a function (English, Chinese): it must be JSON with name and arguments."""
    inner = _TOOL_CALL.search(content)
    if inner:
        text = inner.group(1)
    else:
        thought = _THOUGHT.search(content)
        text = content.replace(thought.group(0), "") if thought else content
    try:
        calls = json.loads(text)
    except (ValueError, RecursionError):
        return f"the call is not JSON: {shorten(text)}", f"函数调用不是 JSON：{shorten(text)}"
    for call in calls if isinstance(calls, list) else [calls]:
        if not isinstance(call, dict) or "name" not in call or "arguments" not in call:
            return (
                f"the call lacks name or arguments: {shorten(call)}",
                f"函数调用缺少 name 或 arguments：{shorten(call)}",
            )
    return None


def _check_system(row: Conversation) -> None:
    if row.system and not isinstance(row.system, str):
        row.add(
            "system_not_text",
            "stops",
            "system",
            f"The system prompt is not text: {shorten(row.system)}",
            f"系统提示不是文本：{shorten(row.system)}",
        )


def _check_tools(row: Conversation) -> None:
    if not row.tools:
        return
    if not isinstance(row.tools, str):
        row.add(
            "tools_not_text",
            "stops",
            "tools",
            "The tools must be JSON written as text, not an object.",
            "工具描述必须是写成文本的 JSON，而不是对象。",
        )
        return
    try:
        tools = json.loads(row.tools)
    except (ValueError, RecursionError):
        tools = None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        row.add(
            "tools_broken",
            "stops",
            "tools",
            f"The tools are not a JSON list of objects: {shorten(row.tools)}",
            f"工具描述不是由对象组成的 JSON 列表：{shorten(row.tools)}",
        )


def _warn_of_emptiness(row: Conversation) -> None:
    if any(not _has_text(message) for message in row.prompt if message["role"] == "user"):
        row.add("prompt_empty", "none", None, "A question is empty.", "有的提问为空。")
    answers = row.response if len(row.response) == 1 else []
    answers += [message for message in row.prompt if message["role"] == "assistant"]
    if any(not _has_text(message) for message in answers):
        row.add("answer_empty", "none", None, "An answer is empty.", "有的回答为空。")
    if len(row.response) == 2 and not any(_has_text(message) for message in row.response):
        row.add("answer_empty", "none", None, "The answer is empty.", "回答为空。")


def _has_text(message: Message) -> Any:
    content = message["content"]
    return not isinstance(content, str) or (content and not content.isspace())
