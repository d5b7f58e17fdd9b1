"""`tuneforge estimate`: predict measured runs from a file, one JSON line each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backend.domain.estimate.cases import predict_case
from backend.launch.places import LaunchError


def print_predictions(path: str) -> None:
    """Print a prediction for every row of a JSON-lines file (`-` is the input)."""
    for row in _read_rows(path):
        print(json.dumps(predict_case(row), ensure_ascii=False), flush=True)


def _read_rows(path: str) -> Iterator[dict[str, Any]]:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LaunchError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise LaunchError(f"{path}, line {number}, is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise LaunchError(f"{path}, line {number}, is no JSON object.")
        yield row
