"""The tables; importing this package registers every one of them on `Base.metadata`."""

from backend.tables import (
    artifact,
    audit,
    base_model,
    chore,
    dataset,
    dataset_profile,
    estimate_record,
    idempotency,
    job,
    ledger,
    node,
    pulse,
    upload,
    user,
)
from backend.tables.base import Base

__all__ = [
    "Base",
    "artifact",
    "audit",
    "base_model",
    "chore",
    "dataset",
    "dataset_profile",
    "estimate_record",
    "idempotency",
    "job",
    "ledger",
    "node",
    "pulse",
    "upload",
    "user",
]
