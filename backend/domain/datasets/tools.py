"""Descriptions of tools and calls of functions, put into words as LLaMA-Factory's templates do (`data/tool_utils.py`)."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.resources import files
from typing import Any

_FORMATS = ("default", "glm4", "glm4_moe", "ling", "llama3", "mistral", "qwen", "qwen3_5")
_SOME_DATE = "26 Jul 2024"
"""Llama 3's text names the day of the run: any day is as long."""


@lru_cache(maxsize=1)
def _load_prompts() -> dict[str, str]:
    text = files("backend.domain.datasets").joinpath("tool_prompts.json").read_text("utf-8")
    loaded: dict[str, str] = json.loads(text)
    return loaded


def describe_tools(text: str, style: str | None) -> str | None:
    """Return what a template with this `tool_format` adds to the system prompt for tools given as JSON.

    None where the platform does not write this format, or the tools are not what it wants.
    """
    if style not in _FORMATS:
        return None
    try:
        tools = json.loads(text)
        return _write_tools(tools, style) if tools else ""
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _write_tools(tools: list[Any], style: str) -> str:
    bare = [tool.get("function", "") if tool.get("type") == "function" else tool for tool in tools]
    wrapped = [
        tool if tool.get("type") == "function" else {"type": "function", "function": tool} for tool in tools
    ]
    if style == "mistral":
        return f"[AVAILABLE_TOOLS] {_dump(wrapped)}[/AVAILABLE_TOOLS]"
    prompt = _load_prompts()[style]
    if style == "default":
        names = ", ".join(tool["name"] for tool in bare)
        return prompt.format(tool_text="".join(map(_describe_plainly, bare)), tool_names=names)
    if style == "glm4":
        return prompt.format(tool_text="".join(map(_describe_for_glm, bare)))
    if style == "llama3":
        shown = "".join(json.dumps(tool, indent=4, ensure_ascii=False) + "\n\n" for tool in wrapped)
        return prompt.format(date=_SOME_DATE, tool_text=shown)
    listed = bare if style == "qwen3_5" else wrapped
    return prompt.format(tool_text="".join("\n" + _dump(tool) for tool in listed))


def _describe_for_glm(tool: dict[str, Any]) -> str:
    body = json.dumps(tool, indent=4, ensure_ascii=False)
    return f"\n\n## {tool['name']}\n\n{body}\n在调用上述函数时，请使用 Json 格式表示调用的参数。"


def _describe_plainly(tool: dict[str, Any]) -> str:
    required = tool["parameters"].get("required", [])
    lines = [
        _describe_parameter(name, parameter, name in required)
        for name, parameter in tool["parameters"]["properties"].items()
    ]
    about = tool.get("description", "")
    return f"> Tool Name: {tool['name']}\nTool Description: {about}\nTool Args:\n{''.join(lines)}\n"


def _describe_parameter(name: str, parameter: dict[str, Any], required: bool) -> str:
    kind = f"{parameter.get('type', '')}{', required' if required else ''}"
    choices = f", should be one of [{', '.join(parameter['enum'])}]" if parameter.get("enum") else ""
    items = parameter.get("items")
    each = f", where each item should be {items.get('type', '')}" if items else ""
    return f"  - {name} ({kind}): {parameter.get('description', '')}{choices}{each}\n"


def write_calls(
    text: str, style: str | None, call_words: list[str] | None, thought_words: list[str] | None
) -> str | None:
    """Return how a template writes an assistant's calls, which are JSON, perhaps with thoughts or in marks of a call.

    None where the platform does not write this format, or the calls are not JSON with name and arguments.
    """
    if style not in _FORMATS:
        return None
    marked = _find_between(text, call_words)
    thought = None if marked else _find_between(text, thought_words)
    if marked:
        before, calls = text.replace(marked.group(0), ""), marked.group(1)
    elif thought:
        before, calls = thought.group(0), text.replace(thought.group(0), "")
    else:
        before, calls = "", text
    try:
        found = json.loads(calls)
        listed = [
            (call["name"], call["arguments"]) for call in (found if isinstance(found, list) else [found])
        ]
        return before + _join_calls(listed, style)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _find_between(text: str, words: list[str] | None) -> re.Match[str] | None:
    if not words:
        return None
    return re.search(f"{re.escape(words[0])}(.*?){re.escape(words[1])}", text, re.DOTALL)


def _join_calls(calls: list[tuple[str, Any]], style: str) -> str:
    if style == "default":
        return "\n".join(f"Action: {name}\nAction Input: {_dump(arguments)}" for name, arguments in calls)
    if style == "glm4":
        [(name, arguments)] = calls
        return f"{name}\n{_dump(arguments)}"
    if style == "llama3":
        shown = [{"name": name, "parameters": arguments} for name, arguments in calls]
        return _dump(shown[0] if len(shown) == 1 else shown)
    if style == "mistral":
        return _dump([{"name": name, "arguments": arguments} for name, arguments in calls])
    if style == "glm4_moe":
        return "\n".join(_write_keys(name, arguments) for name, arguments in calls)
    if style == "qwen3_5":
        return "\n".join(_write_parameters(name, arguments) for name, arguments in calls)
    texts = [_dump({"name": name, "arguments": arguments}) for name, arguments in calls]
    return "\n".join(f"<tool_call>\n{one}\n</tool_call>" for one in texts)


def _write_keys(name: str, arguments: dict[str, Any]) -> str:
    pairs = [
        f"\n<arg_key>{key}</arg_key>\n<arg_value>{_dump_unless_text(value)}</arg_value>"
        for key, value in arguments.items()
    ]
    return f"\n<tool_call>{name}{''.join(pairs)}"


def _write_parameters(name: str, arguments: dict[str, Any]) -> str:
    pairs = [
        f"\n<parameter={key}>\n{_dump_unless_text(value)}\n</parameter>" for key, value in arguments.items()
    ]
    return f"<tool_call>\n<function={name}>{''.join(pairs)}\n</function>\n</tool_call>"


def _dump_unless_text(value: Any) -> str:
    return value if isinstance(value, str) else _dump(value)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
