"""House rules that no linter knows: every module says what it is, and no name says nothing."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "handler", "processor", "misc"}
LONGEST_FUNCTION = 60
LONGEST_MODULE = 400


def _list_modules() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "backend/**.py", "worker/**.py", "scripts/**.py", "tests/**.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


MODULES = {name: (ROOT / name).read_text() for name in _list_modules()}


def test_every_module_says_in_a_sentence_what_it_is() -> None:
    silent = []
    for name, content in MODULES.items():
        first_line = (ast.get_docstring(ast.parse(content)) or "").split("\n")[0]
        if content.strip() and first_line.count(" ") < 2:
            silent.append(name)
    assert silent == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    words = {
        name: {word for part in Path(name).with_suffix("").parts for word in part.split("_")}
        for name in MODULES
    }
    assert {name: sorted(found & VAGUE) for name, found in words.items() if found & VAGUE} == {}


def test_modules_and_functions_can_be_read_at_a_sitting() -> None:
    long = []
    for name, content in MODULES.items():
        if not name.startswith(("backend/", "worker/")):
            continue
        if content.count("\n") > LONGEST_MODULE:
            long.append(name)
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long.append(f"{name}: {node.name} has {length} lines")
    assert long == []
