"""What attempts cost: charged once each, whatever is reported twice."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.domain.gpu_kinds import describe_gpu_kind
from backend.domain.pricing import price
from backend.settings import get_settings
from backend.tables.base import new_id
from backend.tables.job import Job
from backend.tables.ledger import LedgerEntry
from backend.tables.user import User


def charge_attempt(session: Session, job: Job, seconds: float) -> None:
    """Charge the present attempt of `job` for `seconds` on its devices, unless that was done before."""
    kind = describe_gpu_kind(job.gpu_kind)
    amount = price(seconds, job.gpu_count, kind.price_per_hour_e4, job.tier)
    statement = (
        insert(LedgerEntry)
        .values(
            id=new_id(),
            user_id=job.owner_id,
            job_id=job.id,
            attempt=job.attempt,
            amount_e4=amount,
            currency=get_settings().currency,
            device_seconds=seconds * job.gpu_count,
            tier=job.tier,
            gpu_kind=job.gpu_kind,
        )
        .on_conflict_do_nothing(index_elements=["job_id", "attempt"])
        .returning(LedgerEntry.id)
    )
    if session.scalar(statement) is None:
        return
    charged = select(func.coalesce(func.sum(LedgerEntry.amount_e4), 0)).where(LedgerEntry.job_id == job.id)
    job.cost_e4 = session.scalar(charged) or 0
    # The weaker lock: our entry already shares the owner's key with the entries of others of their jobs that end now,
    # and of two that both ask for the stronger one neither would ever get it.
    owner = session.get(User, job.owner_id, with_for_update={"key_share": True})
    if owner is not None:
        owner.balance_e4 -= amount
    session.flush()


def get_currency() -> str:
    """Return the currency this installation counts in."""
    return get_settings().currency
