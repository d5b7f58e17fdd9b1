"""All of LLaMA-Factory's templates, as the pages render them and as LLaMA-Factory itself does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.domain.datasets.rendering import list_templates, render_conversation

_TURNS = [
    ("user", "what?"),
    ("assistant", "this"),
    ("user", "and?"),
    ("assistant", "<think>\nhm\n</think>\n\nthat"),
]
_MESSAGES = [{"role": role, "content": content} for role, content in _TURNS]


def write_by_llamafactory(system: str) -> dict[str, list[list[Any]]]:
    script = str(Path(__file__).with_name("write_templates.py"))
    order = json.dumps({"messages": _MESSAGES, "system": system})
    done = subprocess.run([sys.executable, script, order], capture_output=True, text=True, check=True)
    return dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith('["'))


@pytest.mark.real
@pytest.mark.parametrize("system", ["", "be brief"])
def test_every_template_writes_what_llamafactory_writes(system: str) -> None:
    truth = write_by_llamafactory(system)
    assert sorted(truth) == sorted(list_templates())
    wrong = {}
    for name, segments in truth.items():
        made, exact = render_conversation(_MESSAGES, system, None, name)
        assert exact
        if [list(one) for one in made] != segments:
            wrong[name] = (made, segments)
    assert wrong == {}


def test_tools_in_a_format_that_is_not_written_are_said_to_be_shown_otherwise() -> None:
    _, exact = render_conversation(_MESSAGES, None, '[{"name": "look"}]', "seed_oss")
    assert not exact


def test_an_unknown_template_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        render_conversation(_MESSAGES, None, None, "nope")
