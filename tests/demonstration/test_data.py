"""What the demonstration's datasets hold: reproducible, disjoint, whole, and described as they are."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.domain.demonstration import HELDOUT_DATASET_NAME, TRAIN_ARGS, TRAIN_DATASET_NAME
from worker.demonstration import making
from worker.demonstration.dataset import build_rows, choose_scenes, encode_picture, write_dataset
from worker.demonstration.drawing import HEIGHT, WIDTH
from worker.demonstration.english import describe_topic
from worker.demonstration.questions import QUESTIONS
from worker.demonstration.scenes import choose_scene

# The first test that asks for the home may wait for it to be made.
pytestmark = pytest.mark.timeout(1800)

_SPLITS = (TRAIN_DATASET_NAME, HELDOUT_DATASET_NAME)


def read_split(home: Path, name: str) -> tuple[Path, list[dict[str, Any]], dict[str, Any]]:
    """Return a split's folder, its rows and its facts."""
    folder = home / "datasets" / name
    rows = json.loads((folder / "data.json").read_text("utf-8"))
    return folder, rows, json.loads((folder / "tuneforge.json").read_text("utf-8"))


def hash_pictures(folder: Path) -> list[str]:
    """Return the hash of every picture's pixels, so that the same one stored otherwise counts as the same."""
    return [
        hashlib.sha256(Image.open(path).convert("RGB").tobytes()).hexdigest()
        for path in sorted((folder / "images").iterdir())
    ]


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        scenes = choose_scenes(77, 6)
        write_dataset(tmp_path / name, scenes, build_rows(scenes, 3))
    first, second = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("first", "second")
    )
    assert len(first) == 7
    assert first == second


def test_home_holds_what_the_seeds_say(demonstration_home: Path) -> None:
    """What lies in the home, made by another process, is what this one would make."""
    folder, rows, _ = read_split(demonstration_home, HELDOUT_DATASET_NAME)
    scenes = choose_scenes(making._FIRST_HELDOUT_SEED, making.HELDOUT_SCENES)
    assert rows == build_rows(scenes, making.HELDOUT_QUESTIONS_EACH)
    for index, scene in enumerate(scenes):
        assert (folder / rows[index]["images"][0]).is_file()
        assert (folder / f"images/{index:04d}.jpg").read_bytes() == encode_picture(scene)


def test_no_picture_in_both_splits(demonstration_home: Path) -> None:
    hashes = {name: hash_pictures(read_split(demonstration_home, name)[0]) for name in _SPLITS}
    together = [one for split in hashes.values() for one in split]
    assert len(hashes[TRAIN_DATASET_NAME]) == making.TRAIN_SCENES
    assert len(hashes[HELDOUT_DATASET_NAME]) == making.HELDOUT_SCENES
    assert len(set(together)) == len(together)


def test_no_picture_was_seen_in_pre_training() -> None:
    from worker.demonstration.pretraining import SCENE_COUNT

    assert SCENE_COUNT <= making._FIRST_TRAIN_SEED
    assert making._FIRST_TRAIN_SEED + making.TRAIN_SCENES <= making._FIRST_HELDOUT_SEED


@pytest.mark.parametrize("name", _SPLITS)
def test_rows_are_sharegpt_with_a_picture_each(demonstration_home: Path, name: str) -> None:
    folder, rows, facts = read_split(demonstration_home, name)
    questions = {question for question, _ in QUESTIONS.values()}
    for row in rows:
        user, assistant = row["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert user["content"].removeprefix("<image>") in questions
        assert user["content"].count("<image>") == len(row["images"]) == 1
        assert Image.open(folder / row["images"][0]).size == (WIDTH, HEIGHT)
        assert assistant["content"].endswith("。")
    assert {row["images"][0] for row in rows} == {
        f"images/{path.name}" for path in (folder / "images").iterdir()
    }
    asked = Counter(row["messages"][0]["content"] for row in rows)
    assert max(asked.values()) - min(asked.values()) <= 1
    assert len({json.dumps(row, sort_keys=True) for row in rows}) == len(rows)
    assert facts["example_count"] == len(rows)
    assert facts["modalities"] == ["text", "image"]
    assert facts["picture_stats"] == {"per_example": 1, "width_mean": WIDTH, "height_mean": HEIGHT}
    assert facts["token_stats"]["max"] <= TRAIN_ARGS["cutoff_len"]


@pytest.mark.parametrize("topic", QUESTIONS)
def test_an_answer_tells_as_much_as_the_english(topic: str) -> None:
    """Two scenes have the same answer exactly when the English words for them are the same."""
    _, answer = QUESTIONS[topic]
    pairs = {(answer(scene), describe_topic(scene, topic)) for scene in map(choose_scene, range(2000))}
    assert len({chinese for chinese, _ in pairs}) == len({english for _, english in pairs}) == len(pairs)
    assert len(pairs) >= 3
