"""What can go wrong, in the platform's own words; the web answers each in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with what was sent: where (`("args", "learning_rate")`) and what to do about it.

    `msg_zh` is the same in Chinese, where it has been written.
    """

    loc: Location
    msg: str
    msg_zh: str | None = None


class TuneforgeError(Exception):
    """A refusal with a stable machine-readable `code` and a `detail` that tells a person what to do.

    `zh` is the same in Chinese; what only programs are told may lack it. `more` holds what a program needs to go on.
    """

    code = "error"
    status = 400
    title = "The request was refused"

    def __init__(self, detail: str, *, zh: str | None = None, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.detail_zh = zh
        self.more: dict[str, Any] = {}
        if code is not None:
            self.code = code


class NotFound(TuneforgeError):
    """There is no such thing, or the person asking may not see it: the two look alike."""

    code = "not_found"
    status = 404
    title = "Not found"


class NotSignedIn(TuneforgeError):
    """Nobody known is asking."""

    code = "not_signed_in"
    status = 401
    title = "Sign in first"


class NotAllowed(TuneforgeError):
    """Somebody known is asking for what is not theirs to do."""

    code = "not_allowed"
    status = 403
    title = "Not allowed"


class Conflict(TuneforgeError):
    """The thing is not in a state in which this can be done."""

    code = "conflict"
    status = 409
    title = "Conflict"


class TooLarge(TuneforgeError):
    """It is larger than what is allowed, or than what is left of it."""

    code = "too_large"
    status = 413
    title = "Too large"


class NoRoom(TuneforgeError):
    """The disk cannot take it."""

    code = "disk_full"
    status = 507
    title = "No room on the disk"


class TooEarly(TuneforgeError):
    """What has to come first is not there yet; ask again in a moment."""

    code = "too_early"
    status = 425
    title = "Too early"


class TooManyAttempts(TuneforgeError):
    """Asked too often; `retry_after_seconds` says when to come back."""

    code = "too_many_attempts"
    status = 429
    title = "Too many attempts"

    def __init__(self, detail: str, retry_after_seconds: int, *, zh: str | None = None) -> None:
        super().__init__(detail, zh=zh)
        self.retry_after_seconds = retry_after_seconds


class Invalid(TuneforgeError):
    """What was sent does not hold together; `problems` names every fault at once."""

    code = "invalid"
    status = 422
    title = "Something in the request needs changing"

    def __init__(
        self, problems: list[Problem], detail: str | None = None, *, code: str | None = None
    ) -> None:
        first = problems[0] if problems else Problem((), "invalid")
        place = ".".join(str(part) for part in first.loc)
        zh = None if first.msg_zh is None else f"{place}：{first.msg_zh}" if place else first.msg_zh
        super().__init__(
            detail or f"{place}: {first.msg}" if place else detail or first.msg,
            zh=None if detail else zh,
            code=code,
        )
        self.problems = problems
