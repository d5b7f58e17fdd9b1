"""Small datasets of every kind that LLaMA-Factory tokenizes in its own way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

_SHAREGPT = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
             "observation_tag": "tool", "function_tag": "call", "system_tag": "system"}  # fmt: skip
_TALKS = {"file_name": "rows.jsonl", "formatting": "sharegpt", "tags": _SHAREGPT}
_PICTURES = [(1928, 1208), (112, 84), (20, 10), (2000, 8), (9, 2300), (640, 480)]
_WEATHER = {
    "name": "look_up",
    "description": "天气 of a town",
    "parameters": {
        "type": "object",
        "properties": {
            "town": {"type": "string", "description": "which town"},
            "unit": {"type": "string", "enum": ["C", "F"]},
            "days": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["town"],
    },
}
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Sample:
    """A dataset: its entry in `dataset_info.json`, its stage, and its rows; `pictures` lie beside them.

    `only` these templates can write it, if any are named.
    """

    name: str
    info: dict[str, Any]
    stage: str
    rows: Callable[[], Rows]
    pictures: bool = False
    only: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        """Put it into a folder of its own and return that."""
        place = folder / self.name
        place.mkdir()
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in self.rows())
        (place / "rows.jsonl").write_text(text, encoding="utf-8")
        if self.pictures:
            for number, size in enumerate(_PICTURES):
                Image.new("RGB", size, (number * 30, 90, 200)).save(place / f"{number}.png")
        return place


def say(*texts: str, roles: tuple[str, ...] = ("user", "assistant")) -> list[dict[str, str]]:
    """Return messages whose roles take turns."""
    return [{"role": roles[place % len(roles)], "content": text} for place, text in enumerate(texts)]


def _list_questions() -> Rows:
    return [
        {
            "instruction": f"what is {number}?" * number,
            "input": "图中" if number % 2 else "",
            "output": "车。" * number,
        }
        for number in range(1, 9)
    ]


def _list_histories() -> Rows:
    return [
        {"instruction": "and now?", "input": "", "output": "that", "system": "be brief 简短",
         "history": [["what?", "this"]] * number}
        for number in range(4)
    ]  # fmt: skip


def _list_talks() -> Rows:
    talks = [say("hello", "hi"), say(*["what?", "a car 一辆车"] * 5), say("", "empty question")]
    return [{"messages": talk} for talk in talks] + [
        {"messages": [{"role": "system", "content": "short"}, *say("q", "a")]},
        {"messages": say("only a question")},
        {"messages": say("in <|im_end|> the </s> text <|im_start|>", "done <s> 好")},
    ]


def _list_pictures() -> Rows:
    single = [
        {"messages": say(f"<image>what is in {number}?", "车"), "images": [f"{number}.png"]}
        for number in range(len(_PICTURES))
    ]
    two = {"messages": say("<image> and <image> differ?", "yes", "<image>?", "no"),
           "images": ["0.png", "1.png", "2.png"]}  # fmt: skip
    return [*single, two]


def _list_calls() -> Rows:
    roles = ("user", "call", "tool", "assistant")
    call = json.dumps({"name": "look_up", "arguments": {"town": "巴黎", "days": [1, 2]}}, ensure_ascii=False)
    tools = json.dumps([_WEATHER, {"type": "function", "function": _WEATHER}], ensure_ascii=False)
    return [
        {"messages": say("weather?", call, '{"sky": "grey"}', "grey", roles=roles), "tools": tools},
        {"messages": say("nothing to look up", "fine"), "tools": ""},
    ]


def _list_thoughtful_calls() -> Rows:
    roles = ("user", "call", "tool", "assistant")
    call = "<think>\nwhere?\n</think>\n\n" + json.dumps([{"name": "look_up", "arguments": {}}] * 2)
    return [{"messages": say("weather?", call, "blue", "it is blue", roles=roles)} for _ in range(2)]


def _list_calls_of_openai() -> Rows:
    calls = [{"function": {"name": "look_up", "arguments": {"town": "Paris"}}}]
    messages = [
        {"role": "user", "content": "weather?", "tool_calls": []},
        {"role": "call", "content": "", "tool_calls": calls},
        {"role": "tool", "content": "grey", "tool_calls": []},
        {"role": "assistant", "content": "it is grey", "tool_calls": []},
    ]
    return [{"messages": messages, "tools": json.dumps([_WEATHER])} for _ in range(2)]


def _list_thoughts() -> Rows:
    thought = "<think>\nhm 想\n</think>\n\n"
    return [
        {"messages": say("why?", thought + "so", "and?", thought + "thus")},
        {"messages": say("why?", "so", "and?", thought + "thus")},
        {"messages": say("why?", thought + "so", "and?", "thus")},
    ]


def _list_pairs() -> Rows:
    return [
        {
            "instruction": f"which {number}?",
            "input": "",
            "chosen": "the good one 好" * number,
            "rejected": "bad " * 5,
        }
        for number in range(1, 6)
    ]


def _list_pairs_of_messages() -> Rows:
    thought = "<think>\nhm\n</think>\n\n"
    return [
        {"messages": say("q", thought + "a", "and?"), "chosen": say("yes", roles=("assistant",))[0],
         "rejected": say(thought + "no, no, no", roles=("assistant",))[0]}
        for _ in range(3)
    ]  # fmt: skip


def _list_feedback() -> Rows:
    return [
        {"messages": say(f"q {number}", "a" * number), "label": number % 2 == 0} for number in range(1, 7)
    ]


def _list_texts() -> Rows:
    return [{"text": text} for text in ("a plain text", "纯文本 " * 40, "x " * 3000)]


def _map(*columns: str, **more: Any) -> dict[str, Any]:
    return {**_TALKS, "columns": {name: name for name in columns} | more.pop("renamed", {}), **more}


SAMPLES = [
    Sample("questions", {"file_name": "rows.jsonl"}, "sft", _list_questions),
    Sample("histories", {"file_name": "rows.jsonl", "columns": {
        "prompt": "instruction", "query": "input", "response": "output", "system": "system", "history": "history",
    }}, "sft", _list_histories),
    Sample("talks", _map("messages"), "sft", _list_talks),
    Sample("pictures", _map("messages", "images"), "sft", _list_pictures, pictures=True),
    Sample("calls", _map("messages", "tools"), "sft", _list_calls),
    Sample("thoughtful-calls", _map("messages"), "sft", _list_thoughtful_calls, only=("qwen2_vl", "qwen3", "default")),
    Sample("calls-of-openai", _map("messages", "tools", formatting="openai"), "sft", _list_calls_of_openai),
    Sample("thoughts", _map("messages"), "sft", _list_thoughts),
    Sample("pairs", {"file_name": "rows.jsonl", "ranking": True, "columns": {
        "prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected",
    }}, "rm", _list_pairs),
    Sample("pairs-of-messages", _map("messages", "chosen", "rejected", ranking=True), "rm", _list_pairs_of_messages),
    Sample("feedback", _map("messages", renamed={"kto_tag": "label"}), "kto", _list_feedback),
    Sample("texts", {"file_name": "rows.jsonl", "columns": {"prompt": "text"}}, "pt", _list_texts),
]  # fmt: skip
