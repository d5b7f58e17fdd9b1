"""What LLaMA-Factory's arguments are: `arguments.json`, read once.

The file beside this module is written by `scripts/describe_arguments.py` out of the dataclasses of the installed
LLaMA-Factory and transformers, so that neither is imported here. It is part of the program.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

DESCRIPTION: dict[str, Any] = json.loads(
    resources.files("backend.domain").joinpath("arguments.json").read_text(encoding="utf-8")
)
ARGUMENTS: dict[str, dict[str, Any]] = {one["name"]: one for one in DESCRIPTION["arguments"]}
