"""What is wrong with an argument's value by itself: its type, choices, range, or text a run could not read.

A YAML file gives LLaMA-Factory values as they are written, unconverted and unchecked: text where a number is
wanted fails deep in training or not at all. A fault is one sentence in English and one in Chinese.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

Fault = tuple[str, str]

_LARGEST = 2**31 - 1
"""Numbers without a bound of their own stop here; torch and numpy do not take larger ones everywhere."""
_LONGEST_TEXT = 20_000
_DEEPEST = 4
_SHOWN_CHARACTERS = 60

_OTHER_NAMES = {
    "lr": "learning_rate",
    "epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "max_seq_length": "cutoff_len",
    "max_seq_len": "cutoff_len",
    "evaluation_strategy": "eval_strategy",
    "group_by_length": "train_sampling_strategy",
}
"""What other programs, and older transformers, call them."""


def explain_unknown_name(name: str, known: Iterable[str]) -> Fault:
    """Say that LLaMA-Factory has no such argument, and which one was probably meant."""
    plain = name.strip().lstrip("-").replace("-", "_").lower()[:100]
    near = difflib.get_close_matches(plain, list(known), n=1, cutoff=0.7)
    nearest = _OTHER_NAMES.get(plain) or (near[0] if near else None)
    if nearest is None:
        return (
            "LLaMA-Factory has no such argument; GET /api/v1/arguments lists those it has",
            "LLaMA-Factory 没有这个参数；GET /api/v1/arguments 列出全部参数",
        )
    return (
        f"LLaMA-Factory has no such argument; did you mean {nearest}?",
        f"LLaMA-Factory 没有这个参数；是否想写 {nearest}？",
    )


def check_value(described: Mapping[str, Any], value: Any) -> Fault | None:
    """Return what is wrong with the value of the described argument (an entry of `arguments.json`)."""
    if value is None:
        if described["nullable"]:
            return None
        return "it cannot be null; leave it out to take the default", "不能为 null；删除此项即使用默认值"
    if "choices" in described:
        return _check_choice(described["choices"], value)
    expected: str = described["type"]
    if expected in ("int", "float"):
        return _check_number(described, value)
    fault = _check_type(expected, value) or _check_text(value)
    for item in value if fault is None and "item_choices" in described else []:
        fault = fault or _check_choice(described["item_choices"], item)
    return fault


def _check_choice(choices: list[Any], value: Any) -> Fault | None:
    if any(type(choice) is type(value) and choice == value for choice in choices):
        return None
    shown = ", ".join(
        (choice or '""') if isinstance(choice, str) else json.dumps(choice) for choice in choices
    )
    texts = [choice for choice in choices if isinstance(choice, str)]
    near = difflib.get_close_matches(value, texts, n=1) if isinstance(value, str) and len(value) < 100 else []
    hint = (f"; did you mean {near[0]}?", f"；是否想写 {near[0]}？") if near else ("", "")
    return (
        f"must be one of {shown}, not {show(value)}{hint[0]}",
        f"应为 {shown} 之一，而不是 {show(value)}{hint[1]}",
    )


def _check_type(expected: str, value: Any) -> Fault | None:
    """Check `bool`, `str`, `list` and `dict`."""
    wanted, wanted_zh, sound = {
        "bool": ("true or false", "true 或 false", isinstance(value, bool)),
        "str": ("text", "文本", isinstance(value, str)),
        "list": (
            'a list of texts such as ["a", "b"]',
            '文本列表，如 ["a", "b"]',
            isinstance(value, list) and all(isinstance(item, str) for item in value),
        ),
        "dict": ('an object such as {"name": 1}', '对象，如 {"name": 1}', isinstance(value, dict)),
    }[expected]
    return (
        None if sound else (f"must be {wanted}, not {show(value)}", f"应为 {wanted_zh}，而不是 {show(value)}")
    )


def _check_number(described: Mapping[str, Any], value: Any) -> Fault | None:
    whole = described["type"] == "int"
    if isinstance(value, str) and _reads_as_number(value):
        return (
            f"must be a number: write {value.strip()} without quotation marks, for quoted it is text to LLaMA-Factory",
            f"应为数字：请去掉引号写成 {value.strip()}，带引号时 LLaMA-Factory 会当作文本",
        )
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return (
            f"must be a {'whole ' if whole else ''}number, not {show(value)}",
            f"应为{'整数' if whole else '数字'}，而不是 {show(value)}",
        )
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be a finite number, not {show(value)}", f"应为有限的数字，而不是 {show(value)}"
    if described.get("steps"):
        if 0 < value < 1 or (1 <= value <= _LARGEST and value == int(value)):
            return None
        return (
            f"must be a whole number of steps, or a share of all steps between 0 and 1, not {show(value)}",
            f"应为整数步数，或 0 与 1 之间的比例，而不是 {show(value)}",
        )
    return _check_range(described, value)


def _check_range(described: Mapping[str, Any], value: float) -> Fault | None:
    least, most = described.get("minimum"), described.get("maximum")
    above, below = described.get("exclusive_minimum"), described.get("exclusive_maximum")
    if least is None and above is None:
        least = -_LARGEST
    if most is None and below is None:
        most = _LARGEST
    bounds = [
        (least is None or value >= least, f"at least {least}", f"不小于 {least}"),
        (above is None or value > above, f"above {above}", f"大于 {above}"),
        (most is None or value <= most, f"at most {most}", f"不大于 {most}"),
        (below is None or value < below, f"below {below}", f"小于 {below}"),
    ]
    if all(met for met, _, _ in bounds):
        return None
    said = [
        (en, zh)
        for bound, (_, en, zh) in zip((least, above, most, below), bounds, strict=True)
        if bound is not None
    ]
    return (
        f"must be {' and '.join(en for en, _ in said)}, not {show(value)}",
        f"应{'且'.join(zh for _, zh in said)}，而不是 {show(value)}",
    )


def _reads_as_number(text: str) -> bool:
    try:
        return len(text) <= _SHOWN_CHARACTERS and math.isfinite(float(text))
    except ValueError:
        return False


def _check_text(value: Any) -> Fault | None:
    """Refuse text that cannot be stored, or that LLaMA-Factory's reader of YAML takes for its own syntax."""
    for text in _list_texts(value):
        if text is None:
            return "must hold texts, finite numbers, true and false only", "只能包含文本、有限的数字与真假值"
        if len(text) > _LONGEST_TEXT:
            return f"must not be longer than {_LONGEST_TEXT} characters", f"不能超过 {_LONGEST_TEXT} 个字符"
        if "\0" in text or text != make_printable(text):
            return (
                "must not contain what is not text (NUL, half characters)",
                "不能包含非文本字符（NUL、残缺字符）",
            )
        if "${" in text:
            return (
                "must not contain ${, which LLaMA-Factory's configuration takes for a reference; write $ {",
                "不能包含 ${，LLaMA-Factory 的配置会把它当作引用；请写成 $ {",
            )
    return None


def _list_texts(value: Any, depth: int = 0) -> list[str | None]:
    """Return every text in a value of JSON; None stands for what may not be in one."""
    if isinstance(value, str):
        return [value]
    if value is None or isinstance(value, bool):
        return []
    if isinstance(value, (int, float)) and abs(value) <= _LARGEST:
        return []
    if isinstance(value, (list, dict)) and depth < _DEEPEST:
        items = value if isinstance(value, list) else [part for pair in value.items() for part in pair]
        return [text for item in items for text in _list_texts(item, depth + 1)]
    return [None]


def make_printable(text: str) -> str:
    """Return text that can be sent: JSON may hold halves of characters, for which UTF-8 has no form."""
    return text.encode("utf-8", "replace").decode()


def show(value: Any) -> str:
    """Return a value as JSON has it, short enough for a sentence."""
    if isinstance(value, (list, dict)):
        return "[…]" if isinstance(value, list) else "{…}"
    shown = make_printable(json.dumps(value, ensure_ascii=False, default=str))
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"
