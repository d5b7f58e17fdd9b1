"""That a home gets each folder whole or not at all, whoever starts and whenever it is ended."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from backend.domain.demonstration import (
    DEMONSTRATION_VERSION,
    HELDOUT_DATASET_NAME,
    MODEL_NAME,
    TRAIN_DATASET_NAME,
)
from tests.demonstration.attempt import ROOT
from tests.demonstration.conftest import make_demonstration
from worker.demonstration import making

_MAKE_SLOWLY = """
import sys, time
from pathlib import Path
from worker.demonstration import making

def fill(draft, *_):
    (draft / "part").write_text("half")
    with open(sys.argv[2], "a") as record:
        record.write(draft.name + "\\n")
    time.sleep(float(sys.argv[3]))
    (draft / "part").write_text("whole")
    return {}

making._fill_model = making._fill_train = making._fill_heldout = fill
making.make_demonstration(Path(sys.argv[1]))
"""


def start_slow_making(home: Path, record: Path, seconds: float) -> subprocess.Popen[bytes]:
    """Start a process that makes folders of one file, `seconds` each, and notes each that it begins in `record`."""
    command = [sys.executable, "-c", _MAKE_SLOWLY, str(home), str(record), str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


@pytest.fixture
def fill_quickly(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have folders filled with one file; returns the names of the drafts that were filled."""
    filled: list[str] = []

    def fill(draft: Path, *_: Any) -> dict[str, Any]:
        filled.append(draft.name)
        (draft / "part").write_text("whole")
        return {"source": "test"}

    for name in ("_fill_model", "_fill_train", "_fill_heldout"):
        monkeypatch.setattr(making, name, fill)
    return filled


def list_folders(home: Path) -> list[Path]:
    """The three folders that a demonstration consists of."""
    names = (TRAIN_DATASET_NAME, HELDOUT_DATASET_NAME)
    return [home / "models" / MODEL_NAME, *(home / "datasets" / name for name in names)]


def test_what_is_there_is_left_alone(tmp_path: Path, fill_quickly: list[str]) -> None:
    making.make_demonstration(tmp_path)
    assert len(fill_quickly) == 3
    making.make_demonstration(tmp_path)
    assert len(fill_quickly) == 3
    for folder in list_folders(tmp_path):
        facts = json.loads((folder / "tuneforge.json").read_text("utf-8"))
        assert facts["version"] == DEMONSTRATION_VERSION
        assert set(facts["description"]) == {"zh", "en"}
        assert facts["source"] == "test"


@pytest.mark.parametrize("facts", ['{"version": 0}', "[]", "{", None])
def test_what_is_old_or_broken_is_made_anew(
    tmp_path: Path, fill_quickly: list[str], facts: str | None
) -> None:
    making.make_demonstration(tmp_path)
    model = list_folders(tmp_path)[0]
    (model / "of-the-old-one").touch()
    (model / "tuneforge.json").unlink() if facts is None else (model / "tuneforge.json").write_text(facts)
    making.make_demonstration(tmp_path)
    assert fill_quickly[3:] == [f".{MODEL_NAME}.draft"]
    assert sorted(path.name for path in model.iterdir()) == ["part", "tuneforge.json"]
    assert [path.name for path in model.parent.iterdir()] == [MODEL_NAME]


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """Nothing half made is to be seen, and the next start neither waits for the dead nor keeps what it left."""
    home, record = tmp_path / "home", tmp_path / "record"
    first = start_slow_making(home, record, 600)
    draft = home / "models" / f".{MODEL_NAME}.draft" / "part"
    while not draft.exists():
        assert first.poll() is None
        time.sleep(0.02)
    first.kill()
    first.wait()
    assert not any(folder.exists() for folder in list_folders(home))
    assert start_slow_making(home, record, 0).wait(60) == 0
    assert [(folder / "part").read_text() for folder in list_folders(home)] == ["whole"] * 3
    assert sorted(path.name for path in home.rglob("*.draft")) == []


def test_two_at_once(tmp_path: Path) -> None:
    """One makes everything, the other waits and finds it there."""
    home, record = tmp_path / "home", tmp_path / "record"
    both = [start_slow_making(home, record, 0.3) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(record.read_text().splitlines()) == 3
    assert [(folder / "part").read_text() for folder in list_folders(home)] == ["whole"] * 3


def test_without_a_home() -> None:
    made = make_demonstration(Path(""), TUNEFORGE_HOME="")
    assert made.returncode == 2
    assert "TUNEFORGE_HOME" in made.stderr
