"""The header by which a creating call may come twice."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
