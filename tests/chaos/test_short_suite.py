"""The chaos suite in its short form: a real platform, some faults, and one run of LLaMA-Factory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.faults import SHORT

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


def test_nothing_is_lost_whatever_dies() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "chaos", "--short"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    said = f"{answer.stdout}\n{answer.stderr}"
    assert answer.returncode == 0, said
    counts = json.loads(answer.stdout.splitlines()[-1])
    assert counts.pop("faults") == len(SHORT), said
    assert counts.pop("jobs") >= 8 * len(SHORT), said
    assert set(counts.values()) == {0}, said
