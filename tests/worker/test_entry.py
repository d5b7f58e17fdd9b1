"""The run's own side: what does not need a run to be tried."""

from __future__ import annotations

import os
from pathlib import Path

from worker.entry import open_forgiving


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
