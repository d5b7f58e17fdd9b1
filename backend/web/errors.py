"""The one place where refusals and faults become answers: RFC 9457 for programs, a page for people."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from backend.domain.errors import Invalid, NotSignedIn, Problem, TooManyAttempts, TuneforgeError
from backend.web.validation_messages import translate

logger = logging.getLogger(__name__)

ErrorPage = Callable[[Request, dict[str, Any]], Response | None]

_TITLES = {404: "Not found", 405: "Method not allowed", 413: "Too large", 415: "Unsupported media type"}
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}

_CHINESE = {
    404: "没有这个页面或接口。",
    405: "此地址不支持该操作。",
    413: "内容过大。",
    415: "不支持这种内容类型。",
}


def build_problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    problems: list[Problem] | None = None,
    *,
    detail_zh: str | None = None,
) -> dict[str, Any]:
    """Return the body of a refusal, as the REST contract fixes it; `detail_zh` is there where it was written."""
    body = {
        "type": f"urn:tuneforge:error:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": [_show_problem(problem) for problem in problems or []],
    }
    return body | {"detail_zh": detail_zh} if detail_zh else body


def _show_problem(problem: Problem) -> dict[str, Any]:
    shown = {"loc": list(problem.loc), "msg": problem.msg}
    return shown | {"msg_zh": problem.msg_zh} if problem.msg_zh else shown


def install_error_handlers(app: FastAPI) -> None:
    """Have every exception answered here; `app.state.error_page` may render pages for people."""
    app.add_exception_handler(TuneforgeError, _answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(DataError, _answer_data_error)
    app.add_exception_handler(IntegrityError, _answer_collision)
    app.add_exception_handler(OperationalError, _answer_outage)
    app.add_exception_handler(PoolTimeout, _answer_outage)
    app.add_exception_handler(Exception, _answer_fault)


def _answer_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, TuneforgeError)
    problems = error.problems if isinstance(error, Invalid) else None
    headers = {}
    if isinstance(error, TooManyAttempts):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, NotSignedIn):
        headers["WWW-Authenticate"] = "Bearer"
    body = build_problem(
        error.status, error.code, error.title, error.detail, problems, detail_zh=error.detail_zh
    )
    body |= error.more
    return _answer(request, body, headers)


def _answer_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [_read_validation(fault) for fault in error.errors()]
    malformed = any(fault["type"] == "json_invalid" for fault in error.errors())
    if malformed:
        return _answer(
            request,
            build_problem(
                400,
                "malformed_json",
                "Malformed JSON",
                "The body is not valid JSON.",
                detail_zh="请求内容不是有效的 JSON。",
            ),
        )
    return _answer_refusal(request, Invalid(problems))


def _read_validation(fault: Any) -> Problem:
    loc = tuple(part for part in fault["loc"] if part != "body" and not _is_union_label(part))
    message = str(fault["msg"]).removeprefix("Value error, ")
    return Problem(loc, message, translate(fault["type"], fault.get("ctx")))


def _is_union_label(part: object) -> bool:
    """Pydantic names the chosen kind of a body in the place; a person did not write that."""
    return part in ("train", "evaluate")


def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    title = _TITLES.get(status, "The request was refused")
    code = _CODES.get(status, f"http_{status}")
    body = build_problem(status, code, title, str(error.detail), detail_zh=_CHINESE.get(status))
    return _answer(request, body, dict(error.headers or {}))


def _answer_data_error(request: Request, error: Exception) -> Response:
    logger.info("The database refused a value: %s", type(error).__name__)
    return _answer(
        request,
        build_problem(
            422,
            "invalid",
            Invalid.title,
            "A value cannot be stored as it is.",
            detail_zh="有一个值无法保存，请检查后重试。",
        ),
    )


def _answer_collision(request: Request, error: Exception) -> Response:
    logger.warning("Two changes collided: %s", error)
    detail = "Somebody changed the same thing at the same moment; look at it and try again."
    chinese = "有人在同一时刻修改了同一内容，请查看后重试。"
    return _answer(request, build_problem(409, "conflict", "Conflict", detail, detail_zh=chinese))


def _answer_outage(request: Request, error: Exception) -> Response:
    logger.error("The database is away: %s", type(error).__name__)
    detail = "The database cannot be reached at the moment; try again shortly. Running jobs go on."
    chinese = "暂时连不上数据库，请稍后重试。正在运行的任务不受影响。"
    body = build_problem(503, "database_away", "Not available", detail, detail_zh=chinese)
    return _answer(request, body, {"Retry-After": "5"})


def _answer_fault(request: Request, error: Exception) -> Response:
    number = secrets.token_hex(6)
    logger.error("Fault %s at %s %s", number, request.method, request.url.path, exc_info=error)
    detail = f"Something broke on our side. Tell an administrator this number: {number}"
    chinese = f"平台内部出错，请把这个编号告诉管理员：{number}"
    return _answer(request, build_problem(500, "internal_error", "Internal error", detail, detail_zh=chinese))


def _answer(request: Request, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    path = request.url.path
    for_people = not path.startswith(("/api/", "/internal/")) and "text/html" in request.headers.get(
        "accept", ""
    )
    page: ErrorPage | None = getattr(request.app.state, "error_page", None)
    if for_people and page is not None:
        try:
            rendered = page(request, body)
        except Exception:
            logger.exception("The error page broke")
            rendered = PlainTextResponse(f"{body['title']}: {body['detail']}", status_code=body["status"])
        if rendered is not None:
            rendered.headers.update(headers or {})
            return rendered
    return JSONResponse(
        body, status_code=body["status"], headers=headers, media_type="application/problem+json"
    )
