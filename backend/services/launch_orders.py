"""What a supervisor is given when its claim succeeds: the lease that lets it speak, and the order to launch."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend import storage
from backend.domain.job import JobKind
from backend.domain.protocol import LEASE_SECONDS, DatasetLink, LaunchOrder, TrackingPlan
from backend.services import swanlab_access
from backend.settings import get_settings
from backend.tables.job import Job, MetricRow
from backend.tables.user import User

LOG_LIMIT_BYTES = 256 << 20
"""Of all attempts of a job together."""
LEAST_LOG_BYTES = 1 << 20
"""What a further attempt may write in any case: enough to say why it ended."""


def derive_lease(job: Job, supervisor: str, node_rank: int = 0) -> str:
    """Return the lease of a supervisor: the same when it asks again, having heard no answer."""
    if not supervisor:
        return secrets.token_urlsafe(32)
    message = f"lease {job.id} {job.attempt} {supervisor}" + (f" node {node_rank}" if node_rank else "")
    return hmac.new(get_settings().secret_key.encode(), message.encode(), hashlib.sha256).hexdigest()


def hash_lease(lease: str) -> str:
    """Return what of a lease is kept."""
    return hashlib.sha256(lease.encode()).hexdigest()


def is_lease(lease: str, kept: str | None) -> bool:
    """Whether `lease` is the one of which `kept` is the hash."""
    return hmac.compare_digest(kept or "", hash_lease(lease))


def build_order(
    session: Session,
    job: Job,
    lease: str,
    *,
    devices: Sequence[str],
    node_rank: int = 0,
    node_count: int = 1,
) -> LaunchOrder:
    """Return the order for one node's part of the job's present attempt."""
    return LaunchOrder(
        job_id=job.id,
        attempt=job.attempt,
        kind=JobKind(job.kind),
        lease_token=lease,
        lease_seconds=LEASE_SECONDS,
        fence_seconds=get_settings().fence_seconds,
        config_yaml=job.config_yaml,
        config_files=job.launch.get("config_files", {}),
        model_path=job.launch["model_path"],
        adapter_path=job.launch["adapter_path"],
        datasets=[DatasetLink.model_validate(link) for link in job.launch["datasets"]],
        device_kind=job.gpu_kind,
        devices=list(devices),
        node_rank=node_rank,
        node_count=node_count,
        tracking=_plan_tracking(session, job),
        resume_from_attempt=job.attempt - 1 if job.attempt > 1 else None,
        last_known_step=_find_last_step(session, job),
        log_limit_bytes=max(LEAST_LOG_BYTES, LOG_LIMIT_BYTES - storage.measure_log(job.id)),
        total_steps=job.total_steps,
    )


def _find_last_step(session: Session, job: Job) -> int:
    """Return the last step of which the job's curve has a point, -1 without any."""
    last = session.scalar(select(func.max(MetricRow.step)).where(MetricRow.job_id == job.id))
    return -1 if last is None else last


def _plan_tracking(session: Session, job: Job) -> TrackingPlan:
    mode = job.launch["tracking"]
    if mode != "cloud":
        return TrackingPlan(mode=mode)
    owner = session.get_one(User, job.owner_id)
    credentials = swanlab_access.find_credentials(session, owner)
    if credentials is None:
        return TrackingPlan(mode="local")
    return TrackingPlan(
        mode="cloud",
        api_key=credentials.api_key,
        host=credentials.host,
        web_host=credentials.web_host,
        workspace=credentials.workspace,
    )
