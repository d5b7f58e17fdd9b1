"""What is wrong with a request is said in Chinese too, whatever type of error pydantic calls it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic_core._pydantic_core import list_all_errors

from backend.app import app
from backend.web.validation_messages import translate
from tests.factories import Person

CHINESE = re.compile(r"[\u4e00-\u9fff]")
WRONG: list[Any] = [
    None, True, -1, 2**40, 2**80, 1.5, "", " x", "x\u0007", "x" * 5000, "2026-01-01T00:00:00",
    "9999-12-31T23:59:59-14:00", [], ["x"] * 30, [None], {}, {"a": 1}, {"a": 2**70},
    {"a": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]},
]  # fmt: skip
SCHEMAS: dict[str, Any] = app.openapi()["components"]["schemas"]


def _resolve(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the shapes of objects that a body may have."""
    if "$ref" in schema:
        yield from _resolve(SCHEMAS[schema["$ref"].rsplit("/", 1)[-1]])
    elif "oneOf" in schema or "anyOf" in schema:
        for choice in schema.get("oneOf", schema.get("anyOf")):
            yield from _resolve(choice)
    elif "properties" in schema:
        yield schema


def _list_bodies() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            if path.startswith("/api/") and "application/json" in content:
                for shape in _resolve(content["application/json"]["schema"]):
                    yield method.upper(), path.removeprefix("/api/v1"), shape


def _build_wrong(shape: dict[str, Any]) -> Iterator[dict[str, Any]]:
    fixed = {name: field["const"] for name, field in shape["properties"].items() if "const" in field}
    yield {}
    yield fixed
    yield fixed | {"nosuch": 1}
    for name, field in shape["properties"].items():
        for value in WRONG:
            yield fixed | {name: value}
        for inner in _resolve(field):
            for wrong in _build_wrong(inner):
                yield fixed | {name: wrong}


@pytest.mark.parametrize(("method", "path", "shape"), list(_list_bodies()), ids=lambda part: str(part)[:40])
def test_every_fault_of_every_body_is_said_in_chinese_too(
    administrator: Person, method: str, path: str, shape: dict[str, Any]
) -> None:
    path = re.sub(r"\{[a-z_]+\}", "abcdefgh12", path)
    refused = 0
    for body in _build_wrong(shape):
        answer = administrator.request(method, path, json=body)
        if answer.status_code == 422:
            refused += 1
            problem = answer.json()
            assert CHINESE.search(problem.get("detail_zh", "")), (body, problem)
            for error in problem["errors"]:
                assert CHINESE.search(error.get("msg_zh", "")), (body, error)
                assert not CHINESE.search(error["msg"]), error
    assert refused > 5


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=x", "应为整数"),
        ("limit=0", "不能小于 1"),
        ("limit=101", "不能大于 100"),
        ("sort=name", "可选值：'created_at'、'-created_at'"),
        ("created_after=2026-01-01T00:00:00", "缺少时区"),
        ("q=" + "x" * 201, "最多 200 个字符"),
        ("stauts=failed", "没有这个参数；可用：after、"),
    ],
)
def test_a_wrong_question_is_explained(owner: Person, query: str, said: str) -> None:
    problem = owner.get(f"/jobs?{query}").json()
    assert problem["errors"][0]["msg_zh"].startswith(said)
    assert said in problem["detail_zh"]


def test_what_is_no_json_is_said_in_chinese_too(owner: Person) -> None:
    answer = owner.post("/jobs", content=b"{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["detail_zh"]) == (400, "请求内容不是有效的 JSON。")


def test_every_translation_takes_the_figures_that_pydantic_gives() -> None:
    known = {error["type"]: error["example_context"] for error in list_all_errors()}
    ours = {"nested_too_deep": {"depth": 16}}
    translated = 0
    for error_type, context in (known | ours).items():
        message = translate(error_type, context)
        if message is not None:
            translated += 1
            assert CHINESE.search(message) or "null" in message
            assert "{" not in message
    assert translated > 40
