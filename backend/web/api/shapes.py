"""How rows look as JSON, as the REST contract says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from backend.domain.gpu_kinds import describe_gpu_kind
from backend.domain.pricing import format_money
from backend.services import billing, chores, results
from backend.services.nodes import NodeInUse
from backend.services.scheduling import Prospect
from backend.tables.base_model import BaseModel
from backend.tables.chore import Chore
from backend.tables.dataset import Dataset
from backend.tables.job import Job, JobEvent, MetricRow


def show_time(moment: datetime | None) -> str | None:
    """Return ISO 8601 in UTC with `Z`, to the millisecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show_job(job: Job, *, prospect: Prospect | None = None, node_name: str | None = None) -> dict[str, Any]:
    """Return a job as `GET /api/v1/jobs/{id}` answers it."""
    total, step = job.total_steps, job.step
    return {
        "id": job.id,
        "name": job.name,
        "kind": job.kind,
        "status": job.status,
        "end_reason": job.end_reason,
        "attempt": job.attempt,
        "owner": job.owner.username,
        "spec": job.spec,
        "tier": job.tier,
        "assignment": {"node": node_name or job.node_id, "gpus": job.devices} if job.node_id else None,
        "queue_position": prospect.position if prospect else None,
        "expected_start_at": show_time(prospect.expected_start_at) if prospect else None,
        "waiting": _show_waiting(prospect) if prospect else None,
        "progress": {
            "phase": job.phase,
            "step": step,
            "total_steps": total,
            "fraction": _measure_fraction(job),
            "eta_seconds": job.eta_seconds,
        },
        "tracking": {"provider": "swanlab", "mode": job.tracking_mode, "url": _get_tracking_url(job)},
        "estimate": job.estimate,
        "actual": job.actual,
        "cost": format_money(job.cost_e4, billing.get_currency()),
        "stop_requested_at": show_time(job.stop_requested_at),
        "created_at": show_time(job.created_at),
        "started_at": show_time(job.started_at),
        "finished_at": show_time(job.finished_at),
        "error": job.error,
    }


def _show_waiting(prospect: Prospect) -> dict[str, str]:
    return {"reason": prospect.reason, "detail": prospect.sentence, "detail_zh": prospect.sentence_zh}


def _measure_fraction(job: Job) -> float:
    if job.status == "succeeded":
        return 1.0
    return round(min(1.0, job.step / job.total_steps), 4) if job.total_steps else 0.0


def _get_tracking_url(job: Job) -> str | None:
    if job.tracking_mode == "local":
        return f"/jobs/{job.id}/board/" if job.started_at else None
    return job.tracking_url


def show_event(event: JobEvent) -> dict[str, Any]:
    """Return one move."""
    return {
        "id": event.id,
        "at": show_time(event.created_at),
        "old": event.old,
        "new": event.new,
        "reason": event.reason,
        "attempt": event.attempt,
    }


def show_point(point: MetricRow) -> dict[str, Any]:
    """Return one metric point; what was not measured is left out."""
    values = {
        "epoch": point.epoch,
        "loss": point.loss,
        "eval_loss": point.eval_loss,
        "learning_rate": point.learning_rate,
        "grad_norm": point.grad_norm,
        "tokens_per_second": point.tokens_per_second,
    }
    measured = {name: value for name, value in values.items() if value is not None}
    return {"step": point.step, "attempt": point.attempt, **measured, "at": show_time(point.at)}


def show_model(model: BaseModel, chore: Chore | None = None) -> dict[str, Any]:
    """Return a base model; `approximate` names the facts that were reckoned and not read from its files.

    `chore` is its newest download, which says how far it is and why it failed.
    """
    facts = model.facts.get("tuneforge", {})
    return {
        "id": model.id,
        "name": model.name,
        "source": model.source,
        "path": model.path,
        "architecture": model.architecture,
        "parameters": model.parameters,
        "modalities": model.modalities,
        "template": model.template,
        "size_bytes": model.size_bytes,
        "status": model.status,
        "description": facts.get("description"),
        "licence": facts.get("licence"),
        "repos": facts.get("repos", {}),
        "origin": facts.get("origin"),
        "approximate": facts.get("approximate", []),
        "visibility": model.visibility,
        "owner": model.owner.username if model.owner else None,
        "progress": chores.show_progress(chore),
        "error": chore.error if chore is not None and model.status == "failed" else None,
        "created_at": show_time(model.created_at),
    }


def show_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return a dataset."""
    return {
        "id": dataset.id,
        "name": dataset.name,
        "version": dataset.version,
        "series_id": dataset.series_id,
        "note": dataset.note,
        "visibility": dataset.visibility,
        "format": dataset.format,
        "modalities": dataset.modalities,
        "example_count": dataset.example_count,
        "size_bytes": dataset.size_bytes,
        "token_stats": dataset.facts.get("token_stats"),
        "status": dataset.status,
        "report_url": f"/api/v1/datasets/{dataset.id}/report",
        "description": dataset.facts.get("description"),
        "source": dataset.facts.get("source", "local"),
        "repos": dataset.facts.get("repos", {}),
        "approximate": dataset.facts.get("approximate", []),
        "created_at": show_time(dataset.created_at),
    }


def show_rows(dataset: Dataset, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with the addresses of their pictures, videos and sounds."""
    kinds = ("images", "videos", "audios")
    return [row | {kind: _show_media(dataset, row[kind]) for kind in kinds if kind in row} for row in rows]


def _show_media(dataset: Dataset, items: list[Any]) -> list[str]:
    return [results.build_media_url(dataset, item) for item in items]


def show_node(use: NodeInUse) -> dict[str, Any]:
    """Return a node with its devices and which of them work."""
    node = use.node
    devices = [
        device | {"kind_name": describe_gpu_kind(device["kind"]).name, "busy": device["uuid"] in use.busy}
        for device in node.devices
    ]
    return {
        "id": node.id,
        "name": node.name,
        "status": use.status,
        "devices": devices,
        "versions": node.versions,
        "free_bytes": node.free_bytes,
        "seen_at": show_time(node.seen_at),
        "created_at": show_time(node.created_at),
    }


def show_comparison(compared: dict[str, Any]) -> dict[str, Any]:
    """Return a comparison with its costs as money."""
    for job in compared["jobs"]:
        if "cost_e4" in job:
            job["cost"] = format_money(job.pop("cost_e4"), billing.get_currency())
    return compared
