"""Which subsets and splits a dataset's repository has, and which files each is made of, as `datasets` 4.0.0 finds them.

The rules: what the README's front matter says under `configs:`; else files called `data/<split>-00000-of-00001.*`; else
names of splits in names of folders, or of files; else all of it is `train`. Where nothing is said and all files lie in
folders that name no split, each folder is a subset, which is ours: `datasets` would make one table of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from backend.domain.errors import Conflict
from backend.domain.hub_files import RepoFile

DEFAULT = "default"
TRAIN = "train"
ROW_SUFFIXES = frozenset((".json", ".jsonl", ".csv", ".parquet", ".arrow", ".txt"))
_NOT_DATA = frozenset(
    (
        "README.md",
        "config.json",
        "dataset_info.json",
        "dataset_infos.json",
        "dummy_data.zip",
        "dataset_dict.json",
    )
)
_KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SHARD = re.compile(r"data/(\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*\.[^/]*")
_BETWEEN = r"[-._ 0-9]"


@dataclass(frozen=True)
class Split:
    """A split of a subset: its files, and how many examples the README says that it has."""

    name: str
    files: list[RepoFile]
    example_count: int | None = None


@dataclass(frozen=True)
class Subset:
    """A subset (`datasets` says configuration) with its splits."""

    name: str
    splits: list[Split] = field(default_factory=list)
    is_default: bool = False


def list_subsets(files: Iterable[RepoFile], card: dict[str, Any]) -> list[Subset]:
    """Return what a repository has; `card` is the front matter of its README. Splits without files are left out."""
    known = [file for file in files if not _is_passed_over(file.path)]
    counts = _read_counts(card)
    configs = _read_configs(card)
    found = {name: _follow(known, config) for name, config in configs.items()} or _list_by_folder(known)
    default = _find_default(found, configs)
    return [
        Subset(
            name,
            [Split(split, chosen, counts.get((name, split))) for split, chosen in splits.items()],
            name == default,
        )
        for name, splits in found.items()
        if splits
    ]


def _is_passed_over(path: str) -> bool:
    parts = path.split("/")
    return parts[-1] in _NOT_DATA or any(part.startswith((".", "__")) for part in parts)


def _find_default(found: Iterable[str], configs: dict[str, dict[str, Any]]) -> str | None:
    names = list(found)
    said = [
        name for name in names if len(names) == 1 or name == DEFAULT or configs.get(name, {}).get("default")
    ]
    return said[0] if len(said) == 1 else None


# -- the README --------------------------------------------------------------------------------------------


def _read_configs(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    given = card.get("configs")
    entries = [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []
    return {
        str(entry["config_name"]): entry for entry in entries if isinstance(entry.get("config_name"), str)
    }


def _follow(files: list[RepoFile], config: dict[str, Any]) -> dict[str, list[RepoFile]]:
    folder = str(config.get("data_dir") or "").strip("/")
    within = {
        file.path.removeprefix(f"{folder}/"): file
        for file in files
        if not folder or file.path.startswith(f"{folder}/")
    }
    given = config.get("data_files")
    if given is None:
        return _list_by_name(within)
    splits = {split: _match(within, patterns) for split, patterns in _read_patterns(given).items()}
    return {split: found for split, found in splits.items() if found}


def _read_patterns(given: Any) -> dict[str, list[str]]:
    """Return the patterns of each split; without a word about splits all are `train`."""
    if isinstance(given, dict):
        return {str(split): _as_texts(patterns) for split, patterns in given.items()}
    if isinstance(given, list) and any(isinstance(one, dict) for one in given):
        told = [one for one in given if isinstance(one, dict) and isinstance(one.get("split"), str)]
        return {one["split"]: _as_texts(one.get("path")) for one in told}
    return {TRAIN: _as_texts(given)}


def _as_texts(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _match(files: dict[str, RepoFile], patterns: list[str]) -> list[RepoFile]:
    found: dict[str, RepoFile] = {}
    for pattern in patterns:
        wanted = compile_pattern(pattern)
        found |= {path: file for path, file in files.items() if wanted.fullmatch(path)}
    return list(found.values())


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return a pattern of paths as fsspec reads it: `*` stays within a folder, `**` is any number of folders."""
    made, rest = "", pattern.removeprefix("./")
    while rest:
        if rest.startswith("**/"):
            made, rest = made + "(?:.*/)?", rest[3:]
        elif rest.startswith("**"):
            made, rest = made + ".*", rest[2:]
        elif group := re.match(r"\[!?[^\]/\[\\]+\]", rest):
            inner = group[0][1:-1]
            made += (
                "[^" + re.escape(inner[1:]).replace(r"\-", "-") + "]"
                if inner[0] == "!"
                else group[0].replace("^", r"\^")
            )
            rest = rest[group.end() :]
        else:
            made, rest = made + {"*": "[^/]*", "?": "[^/]"}.get(rest[0], re.escape(rest[0])), rest[1:]
    try:
        return re.compile(made)
    except re.error:
        return re.compile(re.escape(pattern))


def _read_counts(card: dict[str, Any]) -> dict[tuple[str, str], int]:
    given = card.get("dataset_info")
    counts = {}
    for entry in given if isinstance(given, list) else [given]:
        if not isinstance(entry, dict) or not isinstance(entry.get("splits"), list):
            continue
        for split in entry["splits"]:
            count = split.get("num_examples") if isinstance(split, dict) else None
            if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 1 << 53:
                counts[str(entry.get("config_name", DEFAULT)), str(split.get("name"))] = count
    return counts


# -- names -------------------------------------------------------------------------------------------------


def _list_by_folder(files: list[RepoFile]) -> dict[str, dict[str, list[RepoFile]]]:
    rows = [file for file in files if PurePosixPath(file.path).suffix in ROW_SUFFIXES]
    folders = {file.path.partition("/")[0] for file in rows if "/" in file.path}
    whole = _list_by_name({file.path: file for file in files})
    if (
        len(folders) < 2
        or any("/" not in file.path for file in rows)
        or any(_names_split(one) for one in folders)
    ):
        return {DEFAULT: whole}
    return {
        folder: _list_by_name(
            {file.path.partition("/")[2]: file for file in files if file.path.startswith(f"{folder}/")}
        )
        for folder in sorted(folders)
    }


def _names_split(part: str) -> bool:
    return part == "data" or any(_has_word(part, word) for words in _KEYWORDS.values() for word in words)


def _list_by_name(files: dict[str, RepoFile]) -> dict[str, list[RepoFile]]:
    """Return the files of each split by the first rule that finds any."""
    shards: dict[str, list[RepoFile]] = {}
    for path, file in files.items():
        if found := _SHARD.fullmatch(path):
            shards.setdefault(found[1], []).append(file)
    if shards:
        return {split: shards[split] for split in (*_KEYWORDS, *sorted(shards)) if split in shards}
    for is_of in (_lies_in, _is_called):
        splits = {
            split: [file for path, file in files.items() if any(is_of(path, word) for word in words)]
            for split, words in _KEYWORDS.items()
        }
        if any(splits.values()):
            return {split: found for split, found in splits.items() if found}
    return {TRAIN: list(files.values())} if files else {}


def _lies_in(path: str, word: str) -> bool:
    return any(_has_word(folder, word) for folder in path.split("/")[:-1])


def _is_called(path: str, word: str) -> bool:
    name = path.rpartition("/")[2]
    return re.search(rf"(?:^|{_BETWEEN}){word}{_BETWEEN}", name) is not None


def _has_word(folder: str, word: str) -> bool:
    return re.search(rf"(?:^|{_BETWEEN}){word}(?:{_BETWEEN}|$)", folder) is not None


# -- choosing ----------------------------------------------------------------------------------------------


def choose_split(subsets: list[Subset], subset: str | None, split: str | None) -> tuple[Subset, Split]:
    """Return the wanted split; without a wish the default subset and `train`, as LLaMA-Factory has it. Conflict: none."""
    chosen = next((one for one in subsets if one.name == subset or (subset is None and one.is_default)), None)
    if chosen is None:
        raise _say_choose("subset", "子集", subset, [one.name for one in subsets])
    names = [one.name for one in chosen.splits]
    wanted = split or (TRAIN if TRAIN in names or len(names) > 1 else names[0])
    found = next((one for one in chosen.splits if one.name == wanted), None)
    if found is None:
        raise _say_choose("split", "拆分", split, names)
    return chosen, found


def _say_choose(what: str, what_zh: str, asked: str | None, names: list[str]) -> Conflict:
    shown, shown_zh = ", ".join(names[:30]), "、".join(names[:30])
    if asked is None:
        return Conflict(
            f"This repository has more than one {what}. Choose one of: {shown}.",
            zh=f"该仓库有多个{what_zh}，请选择其一：{shown_zh}。",
            code=f"hub_{what}_missing",
        )
    return Conflict(
        f"This repository has no {what} {asked!r}. Choose one of: {shown}.",
        zh=f"该仓库没有{what_zh}“{asked}”，请选择其一：{shown_zh}。",
        code=f"hub_{what}_unknown",
    )


def drop_others(files: list[RepoFile], subsets: list[Subset], chosen: Split) -> list[RepoFile]:
    """Return the chosen split's files and those that belong to no split, such as licences and shared pictures."""
    own = {file.path for file in chosen.files}
    others = {file.path for one in subsets for split in one.splits for file in split.files} - own
    return [file for file in files if file.path not in others]


def require_no_script(files: Iterable[RepoFile], repo_id: str) -> None:
    """Refuse a repository that is read by a program of its own, as `datasets` does by now too."""
    script = repo_id.rpartition("/")[2] + ".py"
    if any(file.path == script for file in files):
        raise Conflict(
            f"This repository is read by a program of its own ({script}), which we do not run. On Hugging Face try the "
            "revision refs/convert/parquet, which holds the same data as files; or upload the files yourself.",
            zh=f"该仓库需要运行自带脚本（{script}）才能读取，平台不会运行。"
            "Hugging Face 上可把版本填为 refs/convert/parquet（同一数据的文件版），或自行下载后上传文件。",
            code="hub_script",
        )
