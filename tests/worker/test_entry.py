"""The run's own side: what does not need a run to be tried."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from worker.entry import open_forgiving
from worker.tracking import read_tracking
from worker.tracking_guard import TrackingGuard


def test_a_full_disk_costs_the_log_its_lines_and_not_the_run_its_life() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    stream = open_forgiving(descriptor)
    stream.write("a line\n")
    stream.flush()
    os.close(descriptor)


def test_what_there_is_room_for_is_written_at_once(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    stream = open_forgiving(descriptor)
    stream.write("一行 \ud800")
    assert (tmp_path / "log").read_text() == "一行 \\ud800"
    os.close(descriptor)


def test_a_client_that_cannot_be_imported_costs_a_run_its_tracking_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of the client's own was missing on a node: the run had ended well and was taken for a crash."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "swanlab", None)

    def build_real(_arguments: Any) -> Any:
        import swanlab  # noqa: F401 (as LLaMA-Factory's own callback does)

    guard = TrackingGuard({"mode": "local"}, SimpleNamespace(), build_real)
    guard.on_train_begin(SimpleNamespace(), SimpleNamespace(is_world_process_zero=True), SimpleNamespace())
    assert guard.finish(None)
    told = read_tracking(tmp_path)
    assert told is not None
    assert told.mode == "off"
    assert "swanlab" in (told.detail or "")
