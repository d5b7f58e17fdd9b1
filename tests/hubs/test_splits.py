"""Subsets and splits are those that the real `datasets` library finds in the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import DownloadConfig
from datasets.load import LocalDatasetModuleFactory

from backend.domain.errors import Conflict
from backend.domain.hub_files import RepoFile
from backend.domain.hub_splits import choose_split, drop_others, list_subsets, require_no_script

LAYOUTS: dict[str, list[str]] = {
    "one file": ["data.jsonl"],
    "files of the splits": ["train.jsonl", "test.jsonl", "validation.jsonl"],
    "other words": ["dev.json", "training.json", "eval.json"],
    "words within names": ["my_train_file.csv", "my-test-file.csv", "trainer.csv"],
    "shards": [
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/test-00000-of-00001.parquet",
    ],
    "shards of own splits": [
        "data/train_sft-00000-of-00001.parquet",
        "data/test_sft-00000-of-00001.parquet",
        "more.parquet",
    ],
    "folders of the splits": ["train/a.json", "train/b.json", "test/a.json"],
    "folders before files": ["train/test.json", "test/train.json"],
    "deep folders": ["x/y/train/a.json", "x/y/valid-1/b.json"],
    "no words": ["a.json", "b/c.json"],
    "beside others": ["train.jsonl", "README.md", "dataset_info.json", "LICENSE"],
    "pictures": ["train/1.png", "train/metadata.jsonl", "test/2.png", "test/metadata.jsonl"],
    "val of a word": ["value.json", "interval.json"],
    "numbers": ["train1.json", "train 2.json", "test.3.json"],
}
CONFIGS: dict[str, tuple[list[str], list[dict[str, Any]]]] = {
    "by split": (
        ["en/train.json", "en/test.json", "zh/train.json"],
        [
            {
                "config_name": "en",
                "data_files": [
                    {"split": "train", "path": "en/train.json"},
                    {"split": "test", "path": "en/t[a-f]*.json"},
                ],
                "default": True,
            },
            {"config_name": "zh", "data_files": [{"split": "train", "path": ["zh/*.json"]}]},
        ],
    ),
    "one pattern": (["a/1.json", "a/2.json", "b.json"], [{"config_name": "default", "data_files": "a/*"}]),
    "folders deep": (
        ["a/b/1.json", "a/2.json", "3.json"],
        [{"config_name": "x", "data_files": "a/**/*.json"}, {"config_name": "y", "data_files": "**/*.json"}],
    ),
    "folders of configs": (
        ["en/train.json", "en/test.json", "zh/data.json"],
        [{"config_name": "en", "data_dir": "en"}, {"config_name": "zh", "data_dir": "zh"}],
    ),
    "a list": (
        ["1.json", "2.json", "3.json"],
        [{"config_name": "default", "data_files": ["1.json", "3.json"]}],
    ),
    "not one": (["a1.json", "a2.json", "b1.json"], [{"config_name": "default", "data_files": "[!b]*.json"}]),
    "one sign": (["a1.json", "a22.json"], [{"config_name": "default", "data_files": "a?.json"}]),
}


def _write(folder: Path, names: list[str], card: dict[str, Any]) -> list[RepoFile]:
    for name in [*names, "README.md"]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n# A dataset\n")
    return [RepoFile(name, 2) for name in [*names, "README.md"]]


def _ask_datasets(folder: Path) -> tuple[dict[str, dict[str, set[str]]], str | None]:
    """Return what the real library finds: files by split by configuration, and the default one."""
    known = LocalDatasetModuleFactory(str(folder)).get_module().builder_configs_parameters
    found = {}
    for config in known.builder_configs:
        config._resolve_data_files(str(folder), DownloadConfig())
        found[config.name] = {
            str(split): {Path(path).relative_to(folder).as_posix() for path in paths}
            for split, paths in config.data_files.items()
        }
    return found, known.default_config_name


def _list_ours(files: list[RepoFile], card: dict[str, Any]) -> dict[str, dict[str, set[str]]]:
    """Return the same by our rules, of the files that the real library keeps: those of one kind."""
    return {
        subset.name: {split.name: {file.path for file in split.files} for split in subset.splits}
        for subset in list_subsets(files, card)
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_names_say_the_splits(name: str, tmp_path: Path) -> None:
    files = _write(tmp_path, LAYOUTS[name], {"license": "mit"})
    theirs, _ = _ask_datasets(tmp_path)
    (expected,) = theirs.values()
    ours = _list_ours(files, {})["default"]
    if name == "beside others":
        ours["train"] -= {"LICENSE"}
    assert ours == expected


@pytest.mark.parametrize("name", CONFIGS)
def test_the_readme_says_subsets(name: str, tmp_path: Path) -> None:
    names, configs = CONFIGS[name]
    card = {"configs": configs}
    files = _write(tmp_path, names, card)
    theirs, default = _ask_datasets(tmp_path)
    assert _list_ours(files, card) == theirs
    assert next((one.name for one in list_subsets(files, card) if one.is_default), None) == default


def test_folders_that_name_no_split_are_subsets() -> None:
    files = [
        RepoFile(name, 5)
        for name in ("en/train/0000.parquet", "en/test/0000.parquet", "zh/train/0000.parquet")
    ]
    assert {one.name: [split.name for split in one.splits] for one in list_subsets(files, {})} == {
        "en": ["train", "test"], "zh": ["train"]
    }  # fmt: skip


def test_the_readme_says_how_many_examples() -> None:
    files = [RepoFile("train.json", 5), RepoFile("test.json", 5)]
    card = {
        "dataset_info": {
            "splits": [{"name": "train", "num_examples": 7}, {"name": "test", "num_examples": True}]
        }
    }
    (subset,) = list_subsets(files, card)
    assert [(split.name, split.example_count) for split in subset.splits] == [("train", 7), ("test", None)]


@pytest.mark.parametrize(
    "card",
    [{"configs": 5}, {"configs": [5, {"config_name": 7}]}, {"configs": [{"config_name": "x", "data_files": 7}]},
     {"configs": [{"config_name": "x", "data_files": [{"split": 5}, "[", "(((", "**a**", "../../etc/*"]}]},
     {"dataset_info": [5, {"splits": {"a": 1}}, {"splits": [5, {"num_examples": -1}]}]},
     {"configs": [{"config_name": "x", "data_dir": ["y"]}]}],
)  # fmt: skip
def test_a_hostile_readme_does_no_harm(card: dict[str, Any]) -> None:
    for subset in list_subsets([RepoFile("train.json", 5), RepoFile("a/b.json", 5)], card):
        assert all(split.files for split in subset.splits)


def test_what_is_chosen_without_and_with_a_wish() -> None:
    names = ("en/train.json", "en/test.json", "zh/train.json", "LICENSE", "images/1.png")
    files = [RepoFile(name, 5) for name in names]
    configs = [{"config_name": name, "data_dir": name} for name in ("en", "zh")]
    subsets = list_subsets(files, {"configs": configs})
    with pytest.raises(Conflict) as told:
        choose_split(subsets, None, None)
    assert told.value.code == "hub_subset_missing"
    assert "en, zh" in told.value.detail
    assert "en、zh" in str(told.value.detail_zh)
    _, chosen = choose_split(subsets, "en", None)
    assert [file.path for file in drop_others(files, subsets, chosen)] == [
        "en/train.json",
        "LICENSE",
        "images/1.png",
    ]
    assert choose_split(subsets, "en", "test")[1].name == "test"
    for subset, split, code in (("fr", None, "hub_subset_unknown"), ("zh", "test", "hub_split_unknown")):
        with pytest.raises(Conflict) as told:
            choose_split(subsets, subset, split)
        assert told.value.code == code


def test_a_script_is_refused_with_a_way_out() -> None:
    with pytest.raises(Conflict) as told:
        require_no_script([RepoFile("talks.py", 5), RepoFile("data.json", 5)], "acme/talks")
    assert told.value.code == "hub_script"
    assert "refs/convert/parquet" in told.value.detail
    require_no_script([RepoFile("scripts/talks.py", 5), RepoFile("other.py", 5)], "acme/talks")
