"""A dataset's entry in `dataset_info.json`, read as LLaMA-Factory 0.9.5 reads it (`data/parser.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FORMATTINGS = ("alpaca", "sharegpt", "openai")
COLUMNS = (
    "prompt",
    "query",
    "response",
    "history",
    "messages",
    "system",
    "tools",
    "images",
    "videos",
    "audios",
    "chosen",
    "rejected",
    "kto_tag",
)
TAGS = (
    "role_tag",
    "content_tag",
    "user_tag",
    "assistant_tag",
    "observation_tag",
    "function_tag",
    "system_tag",
)
MEDIA_COLUMNS = ("images", "videos", "audios")
STAGES = ("pt", "sft", "rm", "dpo", "ppo", "kto")
_REMOTE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")


class BadMapping(ValueError):
    """An entry of `dataset_info.json` cannot be followed; the text says why, in English and in Chinese."""

    def __init__(self, detail: str, detail_zh: str) -> None:
        super().__init__(detail)
        self.detail, self.detail_zh = detail, detail_zh


@dataclass(frozen=True)
class Mapping:
    """Which column and which tag means what; None where the dataset has no such thing."""

    file_name: str
    formatting: str = "alpaca"
    ranking: bool = False
    split: str = "train"
    num_samples: int | None = None
    system: str | None = None
    tools: str | None = None
    images: str | None = None
    videos: str | None = None
    audios: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    kto_tag: str | None = None
    prompt: str | None = "instruction"
    query: str | None = "input"
    response: str | None = "output"
    history: str | None = None
    messages: str | None = "conversations"
    role_tag: str | None = "from"
    content_tag: str | None = "value"
    user_tag: str | None = "human"
    assistant_tag: str | None = "gpt"
    observation_tag: str | None = "observation"
    function_tag: str | None = "function_call"
    system_tag: str | None = "system"

    @property
    def holds_messages(self) -> bool:
        """Whether a row is a list of messages rather than columns of text."""
        return self.formatting in ("sharegpt", "openai")

    def list_columns(self) -> dict[str, str]:
        """Return the columns that LLaMA-Factory looks up in every row, by their meaning."""
        chosen = {name: getattr(self, name) for name in COLUMNS}
        unused: tuple[str, ...] = (
            ("prompt", "query", "response", "history") if self.holds_messages else ("messages",)
        )
        if not self.ranking:
            unused += ("chosen", "rejected")
        return {name: column for name, column in chosen.items() if column and name not in unused}


def parse_mapping(info: dict[str, Any]) -> Mapping:
    """Read one entry; raises BadMapping for what LLaMA-Factory would stumble over, or the platform never follows.

    Once `columns` is there, every column that it does not name is None, and so with `tags`.
    """
    remote = [key for key in _REMOTE if key in info]
    if remote:
        raise BadMapping(
            f"The mapping names {remote[0]}; only files of the dataset itself are read.",
            f"映射中写了 {remote[0]}；平台只读取数据集自身的文件。",
        )
    file_name = info.get("file_name")
    if not isinstance(file_name, str) or not file_name:
        raise BadMapping("The mapping names no data file (file_name).", "映射中没有数据文件名（file_name）。")
    formatting = info.get("formatting", "alpaca")
    if formatting not in FORMATTINGS:
        raise BadMapping(
            f"formatting is {formatting!r}; LLaMA-Factory knows {', '.join(FORMATTINGS)}.",
            f"formatting 为 {formatting!r}；LLaMA-Factory 只支持 {'、'.join(FORMATTINGS)}。",
        )
    named = _take_names(info, "columns", COLUMNS) | _take_names(info, "tags", TAGS)
    samples = info.get("num_samples")
    return Mapping(
        file_name=file_name,
        formatting=formatting,
        ranking=info.get("ranking", False) is True,
        split=str(info.get("split", "train")),
        num_samples=samples if isinstance(samples, int) and not isinstance(samples, bool) else None,
        **named,
    )


def _take_names(info: dict[str, Any], part: str, names: tuple[str, ...]) -> dict[str, Any]:
    if part not in info:
        return {}
    given = info[part]
    if not isinstance(given, dict):
        raise BadMapping(f"{part} must be an object.", f"{part} 必须是一个对象。")
    for name in names:
        if not isinstance(given.get(name), str | None):
            raise BadMapping(
                f"{part}.{name} must be the name of a column.", f"{part}.{name} 必须是列名（字符串）。"
            )
    return {name: given.get(name) or None for name in names}


def build_entry(mapping: Mapping) -> dict[str, Any]:
    """Return the entry for `dataset_info.json` that `parse_mapping` reads as `mapping`."""
    entry: dict[str, Any] = {"file_name": mapping.file_name, "formatting": mapping.formatting}
    if mapping.ranking:
        entry["ranking"] = True
    if mapping.split != "train":
        entry["split"] = mapping.split
    if mapping.num_samples is not None:
        entry["num_samples"] = mapping.num_samples
    entry["columns"] = mapping.list_columns()
    if mapping.holds_messages:
        entry["tags"] = {name: getattr(mapping, name) for name in TAGS if getattr(mapping, name)}
    return entry


def find_stage(mapping: Mapping) -> str:
    """Return the stage that a dataset mapped so is for: `rm` (also DPO's), `kto`, `pt` or `sft`."""
    if mapping.ranking:
        return "rm"
    if mapping.kto_tag:
        return "kto"
    if not mapping.holds_messages and mapping.prompt and not mapping.response:
        return "pt"
    return "sft"
