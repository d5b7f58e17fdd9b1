"""Every published call with many odd parameters and bodies, drawn from its own description: never a fault.

Drawn by a seeded generator, so that a failure comes again.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import pytest

from backend.app import app
from backend.database import transaction
from backend.services import catalogue
from tests.factories import Person, finish_job, make_dataset, make_model, register_node, start_job

ROUNDS = 12

Json = dict[str, Any]

DOCUMENT: Json = app.openapi()
CALLS = [
    (method.upper(), path)
    for path, operations in sorted(DOCUMENT["paths"].items())
    for method in sorted(operations)
    if not path.endswith("/stream")
]

ODD_TEXTS = ["", " ", "x", "tiny", "talks", "%", "_", "'; DROP TABLE jobs; --", "🚗" * 50, "\u202e", "../../etc/passwd",
             "a" * 5000, "null", "-1", "2026-01-01T00:00:00Z", "0", "\t\n", "\u2028", "{}", "x,y", "\x7f"]  # fmt: skip
ODD_NUMBERS = [0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**25, 0.5, -0.0, 1e308, 5e-324]
ODD_VALUES: list[Any] = [None, True, [], {}, [[]], {"": {}}, [None] * 50, {"a": [1, "x", None, {"b": 2}]}]


def _draw_odd(random: Random) -> Any:
    return random.choice(random.choice([ODD_TEXTS, ODD_NUMBERS, ODD_VALUES]))


def _draw(schema: Json, random: Random, depth: int = 0) -> Any:
    """Draw a value that mostly fits a schema; one time in eight it is anything at all."""
    if random.random() < 0.125 or depth > 6:
        return _draw_odd(random)
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _draw(DOCUMENT["components"]["schemas"][name], random, depth + 1)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _draw(random.choice(schema[choice]), random, depth + 1)
    if "const" in schema or "enum" in schema:
        return random.choice([schema["const"]] if "const" in schema else schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return _draw_object(schema, random, depth)
    if kind == "array":
        return [_draw(schema.get("items", {}), random, depth + 1) for _ in range(random.randrange(4))]
    if kind == "integer":
        return random.choice([schema.get("minimum", 0), schema.get("maximum", 5), 1, 3, *ODD_NUMBERS[:6]])
    if kind == "number":
        return random.choice(ODD_NUMBERS)
    if kind == "boolean":
        return random.random() < 0.5
    return random.choice([*ODD_TEXTS, "driving", "a name"])


def _draw_object(schema: Json, random: Random, depth: int) -> Json:
    drawn = {
        name: _draw(part, random, depth + 1)
        for name, part in schema.get("properties", {}).items()
        if name in schema.get("required", []) or random.random() < 0.6
    }
    if schema.get("additionalProperties") is not False:
        names = random.sample(
            ["learning_rate", "cutoff_len", "lora_target", "seed", "bf16", "template", "🚗"], 2
        )
        drawn |= {name: _draw_odd(random) for name in names}
    elif random.random() < 0.1:
        drawn["surprise"] = _draw_odd(random)
    return drawn


def _draw_request(operation: Json, path: str, ids: list[str], random: Random) -> tuple[str, Json]:
    """Return the path with its parameters, and the options of a request."""
    options: Json = {"params": {}, "headers": {}}
    for parameter in operation.get("parameters", []):
        name, place = parameter["name"], parameter["in"]
        value = _draw(parameter.get("schema", {}), random)
        text = str(value)
        if place == "path":
            known = random.random() < 0.7
            path = path.replace(f"{{{name}}}", random.choice(ids) if known else quote(text[:300]) or "x")
        elif place == "query" and (parameter.get("required") or random.random() < 0.5):
            options["params"][name] = text[:3000]
        elif place == "header" and name.lower() != "authorization" and random.random() < 0.3:
            options["headers"][name] = (
                text[:300].encode("ascii", "ignore").decode().replace("\n", "").replace("\t", "")
            )
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content and random.random() < 0.95:
        options["json"] = _draw(content["application/json"]["schema"], random)
    return path, options


@pytest.fixture
def ids(owner: Person, tuneforge_home: Path) -> list[str]:
    """Ids and names of things that are there."""
    make_model(tuneforge_home)
    make_dataset(tuneforge_home)
    register_node()
    with transaction() as session:
        catalogue.discover(session)
    order = start_job(owner.id)
    finish_job(order)
    running = start_job(owner.id, kind="evaluate")
    return [order.job_id, running.job_id, "tiny", "talks", "node-1", owner.id, "images/0.png"]


@pytest.mark.parametrize(("method", "path"), CALLS, ids=lambda value: str(value).replace("/api/v1", ""))
def test_no_drawn_request_is_answered_with_a_fault(
    owner: Person, administrator: Person, ids: list[str], method: str, path: str
) -> None:
    random = Random(f"{method} {path}")
    operation = DOCUMENT["paths"][path][method.lower()]
    for _ in range(ROUNDS):
        filled, options = _draw_request(operation, path, ids, random)
        person = administrator if "/admin/" in path or random.random() < 0.2 else owner
        answer = person.client.request(
            method,
            filled,
            headers=person.headers | options["headers"],
            params=options["params"],
            json=options.get("json"),
        )
        seen = f"{method} {filled} {options} → {answer.status_code} {answer.text[:300]}"
        assert answer.status_code < 500 or path == "/readyz", seen
        if answer.status_code >= 400 and path != "/readyz":
            assert answer.headers["content-type"] == "application/problem+json", seen
            assert answer.json()["detail"], seen
