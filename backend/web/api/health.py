"""Whether the platform lives, whether it can work, and numbers for a monitor."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from backend.services import health
from backend.web.deps import require_metrics_reader

router = APIRouter(tags=["health"])


@router.get("/healthz")
def get_health() -> dict[str, str]:
    """Alive."""
    return {"status": "ok"}


@router.get("/readyz")
def get_readiness() -> Response:
    """200 only when all that jobs need is reachable and the demonstration is ready."""
    checks = health.check_readiness()
    ready = all(check == "ok" for check in checks.values())
    return JSONResponse({"ready": ready, "checks": checks}, status_code=200 if ready else 503)


@router.get("/metrics")
def get_metrics(request: Request) -> PlainTextResponse:
    """Prometheus numbers."""
    require_metrics_reader(request)
    return PlainTextResponse(health.render_metrics(), media_type="text/plain; version=0.0.4")
