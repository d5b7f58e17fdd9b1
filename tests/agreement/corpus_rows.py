"""Forms of datasets for the corpus, and the ways in which one row of each is broken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Break = Callable[[Row], Any]
ROWS = 6
BAD = 3
"""The row that is broken."""

_USER, _GPT = ("human", "gpt"), ("user", "assistant")
CALL = '{"name": "look", "arguments": {"at": "sky"}}'
TOOL = '[{"name": "look", "description": "looks", "parameters": {"type": "object", "properties": {}}}]'
OPENAI_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}


@dataclass(frozen=True)
class Form:
    """A form: its good rows, its mapping without a file name, its stage, and what may be wrong with one row.

    A break has the code that it must be found by; None where nothing is wrong.
    """

    name: str
    make: Callable[[int], Row]
    info: dict[str, Any]
    stage: str
    breaks: dict[str, tuple[Break, str | None]] = field(default_factory=dict)

    def build(self, name: str | None = None) -> list[Any]:
        """Return the rows, one of them broken by the break `name`."""
        rows: list[Any] = [self.make(number) for number in range(ROWS)]
        if name:
            rows[BAD] = self.breaks[name][0](copy.deepcopy(rows[BAD]))
        return rows


def put(*path: Any, to: Any) -> Break:
    """Return a break that sets what lies at a path."""

    def change(row: Row) -> Row:
        place: Any = row
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to
        return row

    return change


def drop(*path: Any) -> Break:
    """Return a break that removes what lies at a path."""

    def change(row: Row) -> Row:
        place: Any = row
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]
        return row

    return change


def talk(*turns: tuple[str, Any], role: str = "from", text: str = "value") -> list[Row]:
    """Return messages."""
    return [{role: who, text: what} for who, what in turns]


def make_alpaca(number: int) -> Row:
    return {"instruction": f"question {number}", "input": "", "output": f"answer {number}"}


def make_history(number: int) -> Row:
    return make_alpaca(number) | {"history": [["before?", f"yes {number}"]]}


def make_sharegpt(number: int) -> Row:
    return {"conversations": talk(("human", f"question {number}"), ("gpt", f"answer {number}"))}


def make_openai(number: int) -> Row:
    turns = (("system", "be brief"), ("user", f"q {number}"), ("assistant", f"a {number}"))
    return {"messages": talk(*turns, role="role", text="content")}


def make_tools(number: int) -> Row:
    turns = (
        ("human", f"q {number}"),
        ("function_call", CALL),
        ("observation", "blue"),
        ("gpt", "It is blue."),
    )
    return {"conversations": talk(*turns), "system": "help", "tools": TOOL}


def make_pictures(number: int) -> Row:
    return {
        "messages": talk(
            ("user", f"<image>what? {number}"), ("assistant", "a car"), role="role", text="content"
        ),
        "images": [f"images/{number}.png"],
    }


def make_alpaca_pictures(number: int) -> Row:
    return make_alpaca(number) | {"instruction": f"<image>what {number}", "images": [f"images/{number}.png"]}


def make_pair(number: int) -> Row:
    return {"instruction": f"q {number}", "chosen": f"good {number}", "rejected": f"bad {number}"}


def make_talk_pair(number: int) -> Row:
    return {
        "conversations": talk(("human", f"q {number}")),
        "chosen": {"from": "gpt", "value": f"good {number}"},
        "rejected": {"from": "gpt", "value": f"bad {number}"},
    }


def make_kto(number: int) -> Row:
    return make_alpaca(number) | {"label": number % 2 == 0}


def make_talk_kto(number: int) -> Row:
    return make_sharegpt(number) | {"label": number % 2 == 0}


def make_text(number: int) -> Row:
    return {"text": f"a text to read, number {number}"}


_ALPACA = {"columns": {"prompt": "instruction", "query": "input", "response": "output"}}
_SHAREGPT = {"formatting": "sharegpt", "columns": {"messages": "conversations"}}
_TURN = "conversations"

_ALPACA_BREAKS: dict[str, tuple[Break, str | None]] = {
    "good": (lambda row: row, None),
    "null answer": (put("output", to=None), "answer_missing"),
    "no answer": (drop("output"), "answer_missing"),
    "empty answer": (put("output", to=""), "answer_empty"),
    "blank answer": (put("output", to="  \n"), "answer_empty"),
    "null question": (put("instruction", to=None), "prompt_empty"),
    "empty question": (put("instruction", to=""), "prompt_empty"),
    "no question": (drop("instruction"), "prompt_empty"),
    "null input": (put("input", to=None), None),
    "reasoning": (put("output", to="<think>\nhm\n</think>\n\nyes"), None),
    "numeric answer": (put("output", to=5), "types_differ"),
    "numeric question": (put("instruction", to=5), "types_differ"),
    "list answer": (put("output", to=["a", "b"]), "types_differ"),
    "object answer": (put("output", to={"text": "a"}), "types_differ"),
    "true answer": (put("output", to=True), "types_differ"),
    "copy": (lambda row: make_alpaca(1), "row_duplicate"),
    "more columns": (put("source", to="web"), None),
    "nested column": (put("meta", to={"a": [{"b": 1}]}), None),
    "mixed list": (put("meta", to=[1, "x"]), "types_differ"),
    "placeholder": (put("instruction", to="<image> what?"), "placeholder_count"),
    "empty row": (lambda row: {}, "answer_missing"),
}
_TALK_BREAKS: dict[str, tuple[Break, str | None]] = {
    "good": (lambda row: row, None),
    "more turns": (put(_TURN, to=talk(("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d"))), None),
    "system": (put(_TURN, to=talk(("system", "s"), ("human", "a"), ("gpt", "b"))), None),
    "late system": (put(_TURN, to=talk(("human", "a"), ("system", "s"))), "role_order"),
    "two systems": (put(_TURN, to=talk(("system", "s"), ("system", "s"), ("human", "a"))), "role_order"),
    "answer first": (put(_TURN, to=talk(("gpt", "a"), ("human", "b"))), "role_order"),
    "two questions": (put(_TURN, to=talk(("human", "a"), ("human", "b"))), "role_order"),
    "three turns": (put(_TURN, to=talk(("human", "a"), ("gpt", "b"), ("human", "c"))), "turn_count"),
    "one turn": (put(_TURN, to=talk(("human", "a"))), "turn_count"),
    "system only": (put(_TURN, to=talk(("system", "s"))), "messages_empty"),
    "unknown role": (put(_TURN, 0, "from", to="narrator"), "role_unknown"),
    "other role names": (put(_TURN, to=talk(("user", "a"), ("assistant", "b"))), "role_unknown"),
    "null role": (put(_TURN, 1, "from", to=None), "role_unknown"),
    "no role": (drop(_TURN, 1, "from"), "role_unknown"),
    "empty list": (put(_TURN, to=[]), "messages_empty"),
    "null list": (put(_TURN, to=None), "messages_missing"),
    "no list": (drop(_TURN), "messages_missing"),
    "empty row": (lambda row: {}, "messages_missing"),
    "null message": (put(_TURN, 1, to=None), "message_not_object"),
    "null text": (put(_TURN, 1, "value", to=None), "content_missing"),
    "no text": (drop(_TURN, 1, "value"), "content_missing"),
    "no question text": (drop(_TURN, 0, "value"), "content_missing"),
    "empty text": (put(_TURN, 1, "value", to=""), "answer_empty"),
    "empty question": (put(_TURN, 0, "value", to=" "), "prompt_empty"),
    "numeric text": (put(_TURN, 1, "value", to=7), "types_differ"),
    "list text": (put(_TURN, 1, "value", to=[{"type": "text", "text": "x"}]), "types_differ"),
    "text as list": (put(_TURN, to="hello"), "types_differ"),
    "list of text": (put(_TURN, to=["a", "b"]), "types_differ"),
    "object as list": (put(_TURN, to={"from": "human", "value": "x"}), "types_differ"),
    "weight": (put(_TURN, 1, "weight", to=1), None),
    "copy": (lambda row: make_sharegpt(1), "row_duplicate"),
    "placeholder": (put(_TURN, 0, "value", to="<video>what?"), "placeholder_count"),
}
_PAIR_BREAKS: dict[str, tuple[Break, str | None]] = {
    "good": (lambda row: row, None),
    "null chosen": (put("chosen", to=None), "pair_missing"),
    "no rejected": (drop("rejected"), "pair_missing"),
    "null rejected": (put("rejected", to=None), "pair_missing"),
    "numeric rejected": (put("rejected", to=3), "types_differ"),
    "empty row": (lambda row: {}, "pair_missing"),
}

FORMS = [
    Form("alpaca", make_alpaca, _ALPACA, "sft", _ALPACA_BREAKS),
    Form(
        "history",
        make_history,
        {"columns": _ALPACA["columns"] | {"history": "history"}},
        "sft",
        {
            "good": (lambda row: row, None),
            "null history": (put("history", to=None), None),
            "empty history": (put("history", to=[]), None),
            "triple": (put("history", 0, to=["a", "b", "c"]), "history_broken"),
            "single": (put("history", 0, to=["a"]), "history_broken"),
            "empty pair": (put("history", 0, to=[]), "history_broken"),
            "null answer": (put("history", 0, to=["a", None]), "content_missing"),
            "empty answer": (put("history", 0, to=["a", ""]), "answer_empty"),
            "text": (put("history", to="before"), "types_differ"),
            "flat": (put("history", to=["a", "b"]), "types_differ"),
        },
    ),
    Form("sharegpt", make_sharegpt, _SHAREGPT, "sft", _TALK_BREAKS),
    Form(
        "openai",
        make_openai,
        {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": OPENAI_TAGS},
        "sft",
        {
            "good": (lambda row: row, None),
            "unknown role": (put("messages", 1, "role", to="developer"), "role_unknown"),
            "no system": (drop("messages", 0), None),
            "null system": (put("messages", 0, "content", to=None), None),
            "no answer": (drop("messages", 2), "turn_count"),
            "null answer": (put("messages", 2, "content", to=None), "content_missing"),
            "tool role": (put("messages", 1, "role", to="tool"), None),
            "tool answers": (put("messages", 2, "role", to="tool"), "role_order"),
            "parts": (put("messages", 2, "content", to=[{"type": "text"}]), "types_differ"),
        },
    ),
    Form(
        "tools",
        make_tools,
        {"formatting": "sharegpt", "columns": {"messages": _TURN, "system": "system", "tools": "tools"}},
        "sft",
        {
            "good": (lambda row: row, None),
            "null tools": (put("tools", to=None), None),
            "empty tools": (put("tools", to=""), None),
            "no tools": (put("tools", to="[]"), None),
            "broken tools": (put("tools", to="[{'name': 'look'}]"), "tools_broken"),
            "worded tools": (put("tools", to="a tool that looks"), "tools_broken"),
            "numeric tools": (put("tools", to="5"), "tools_broken"),
            "tools of text": (put("tools", to='["look"]'), "tools_broken"),
            "tools as object": (put("tools", to=[{"name": "look"}]), "types_differ"),
            "null system": (put("system", to=None), None),
            "no system": (drop("system"), None),
            "numeric system": (put("system", to=1), "types_differ"),
            "broken call": (put(_TURN, 1, "value", to="look(at=sky)"), "function_call_broken"),
            "empty call": (put(_TURN, 1, "value", to=""), "function_call_broken"),
            "nameless call": (put(_TURN, 1, "value", to='{"arguments": {}}'), "function_call_broken"),
            "numeric call": (put(_TURN, 1, "value", to="5"), "function_call_broken"),
            "call without arguments": (put(_TURN, 1, "value", to='{"name": "look"}'), "function_call_broken"),
            "two calls": (put(_TURN, 1, "value", to=f"[{CALL}, {CALL}]"), None),
            "thought before": (put(_TURN, 1, "value", to=f"<think>\nhm\n</think>\n\n{CALL}"), None),
            "words before": (put(_TURN, 1, "value", to=f"well: {CALL}"), "function_call_broken"),
            "marked call": (put(_TURN, 1, "value", to=f"well: <tool_call>{CALL}</tool_call>"), None),
            "observation first": (put(_TURN, to=talk(("observation", "x"), ("gpt", "y"))), None),
            "observation instead": (put(_TURN, 3, "from", to="observation"), "role_order"),
            "null observation": (put(_TURN, 2, "value", to=None), "content_missing"),
        },
    ),
    Form(
        "pictures",
        make_pictures,
        {
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": OPENAI_TAGS,
        },
        "sft",
        {
            "good": (lambda row: row, None),
            "no placeholder": (put("messages", 0, "content", to="what?"), "placeholder_count"),
            "two placeholders": (put("messages", 0, "content", to="<image><image>"), "placeholder_count"),
            "null images": (put("images", to=None), "placeholder_count"),
            "no images": (drop("images"), "placeholder_count"),
            "empty images": (put("images", to=[]), "placeholder_count"),
            "two images": (put("images", to=["images/0.png", "images/1.png"]), "placeholder_count"),
            "text only": (
                lambda row: {
                    "messages": talk(("user", "a"), ("assistant", "b"), role="role", text="content"),
                    "images": [],
                },
                None,
            ),
            "two of each": (
                lambda row: {
                    "messages": talk(
                        ("user", "<image>and<image>"), ("assistant", "b"), role="role", text="content"
                    ),
                    "images": ["images/0.png", "images/1.jpg"],
                },
                None,
            ),
            "missing": (put("images", 0, to="images/none.png"), "media_missing"),
            "absolute": (put("images", 0, to="/nowhere/none.png"), "media_outside"),
            "outside": (put("images", 0, to="../none.png"), "media_outside"),
            "empty name": (put("images", 0, to=""), "media_entry_broken"),
            "null name": (put("images", 0, to=None), "media_entry_broken"),
            "a folder": (put("images", 0, to="images"), "media_missing"),
            "no picture": (put("images", 0, to="images/words.png"), "media_unreadable"),
            "empty picture": (put("images", 0, to="images/empty.png"), "media_unreadable"),
            "cut png": (put("images", 0, to="images/cut.png"), "media_unreadable"),
            "cut jpeg": (put("images", 0, to="images/cut.jpg"), "media_unreadable"),
            "grey": (put("images", 0, to="images/grey.png"), None),
            "palette": (put("images", 0, to="images/palette.gif"), None),
            "webp": (put("images", 0, to="images/one.webp"), None),
            "cut webp": (put("images", 0, to="images/cut.webp"), "media_unreadable"),
            "tiny": (put("images", 0, to="images/tiny.png"), None),
            "wrong role": (put("messages", 1, "role", to="bot"), "role_unknown"),
            "missing and dropped": (
                lambda row: {
                    "messages": talk(("assistant", "x"), role="role", text="content"),
                    "images": ["no"],
                },
                "role_order",
            ),
            "one path": (put("images", to="images/0.png"), "types_differ"),
            "video placeholder": (
                put("messages", 0, "content", to="<image><video>"),
                "placeholder_count",
            ),
        },
    ),
    Form(
        "alpaca pictures",
        make_alpaca_pictures,
        {"columns": _ALPACA["columns"] | {"images": "images"}},
        "sft",
        {
            "good": (lambda row: row, None),
            "missing": (put("images", 0, to="none.png"), "media_missing"),
            "no placeholder": (put("instruction", to="what"), "placeholder_count"),
            "placeholder in answer": (put("output", to="<image>"), "placeholder_count"),
            "null answer": (put("output", to=None), "answer_missing"),
        },
    ),
    Form(
        "pairs",
        make_pair,
        {
            "ranking": True,
            "columns": {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"},
        },
        "dpo",
        _PAIR_BREAKS
        | {
            "empty chosen": (put("chosen", to=""), None),
            "empty question": (put("instruction", to=""), "prompt_empty"),
        },
    ),
    Form(
        "talk pairs",
        make_talk_pair,
        {
            "formatting": "sharegpt",
            "ranking": True,
            "columns": {"messages": _TURN, "chosen": "chosen", "rejected": "rejected"},
        },
        "dpo",
        {key: value for key, value in _PAIR_BREAKS.items() if key in ("good", "null chosen", "no rejected")}
        | {
            "even turns": (put(_TURN, to=talk(("human", "a"), ("gpt", "b"))), "turn_count"),
            "three turns": (put(_TURN, to=talk(("human", "a"), ("gpt", "b"), ("human", "c"))), None),
            "empty list": (put(_TURN, to=[]), "turn_count"),
            "unknown answer": (put("chosen", "from", to="bot"), "pair_role_unknown"),
            "answer of a human": (put("chosen", "from", to="human"), None),
            "null answer text": (put("rejected", "value", to=None), "content_missing"),
            "text as chosen": (put("chosen", to="good"), "types_differ"),
            "answer first": (put(_TURN, to=talk(("gpt", "a"))), "role_order"),
        },
    ),
    Form(
        "kto",
        make_kto,
        {"columns": _ALPACA["columns"] | {"kto_tag": "label"}},
        "kto",
        {
            "good": (lambda row: row, None),
            "null label": (put("label", to=None), "label_missing"),
            "no label": (drop("label"), "label_missing"),
            "worded label": (put("label", to="true"), "types_differ"),
            "numeric label": (put("label", to=1), "types_differ"),
            "empty answer": (put("output", to=""), "answer_empty"),
            "null answer": (put("output", to=None), "content_missing"),
        },
    ),
    Form(
        "talk kto",
        make_talk_kto,
        {"formatting": "sharegpt", "columns": {"messages": _TURN, "kto_tag": "label"}},
        "kto",
        {
            "good": (lambda row: row, None),
            "null label": (put("label", to=None), "label_missing"),
            "wrong role": (put(_TURN, 0, "from", to="bot"), "role_unknown"),
            "odd turns": (put(_TURN, to=talk(("human", "a"))), "turn_count"),
            "empty list": (put(_TURN, to=[]), "messages_empty"),
        },
    ),
    Form(
        "text",
        make_text,
        {"columns": {"prompt": "text"}},
        "pt",
        {
            "good": (lambda row: row, None),
            "null text": (put("text", to=None), "prompt_empty"),
            "no text": (lambda row: {}, "prompt_empty"),
            "empty text": (put("text", to=""), "prompt_empty"),
            "numeric text": (put("text", to=5), "types_differ"),
        },
    ),
]


def dump(row: Any) -> str:
    """Return a row as one line of JSON."""
    return json.dumps(row, ensure_ascii=False)
