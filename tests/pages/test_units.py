"""The pages' pure parts: log, points, stream, form values. Tested by Node's own test runner."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_frontend_units() -> None:
    environment = os.environ | {"PATH": f"{ROOT / '.tools/bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    finished = subprocess.run(
        ["npm", "test"], cwd=ROOT / "frontend", env=environment, capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "# fail 0" in finished.stdout
