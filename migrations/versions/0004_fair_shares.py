"""what the scheduler shares by

Revision: 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("jobs", sa.Column("preempt_requested_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("users", sa.Column("share_weight", sa.Double(), nullable=False, server_default="1"))
    op.add_column("ledger_entries", sa.Column("tier", sa.String(), nullable=True))
    op.add_column("ledger_entries", sa.Column("gpu_kind", sa.String(), nullable=True))
    op.execute(
        "UPDATE ledger_entries SET tier = jobs.tier, gpu_kind = jobs.gpu_kind "
        "FROM jobs WHERE jobs.id = ledger_entries.job_id"
    )
    op.create_index(op.f("ix_ledger_entries_created_at"), "ledger_entries", ["created_at"], unique=False)


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_index(op.f("ix_ledger_entries_created_at"), table_name="ledger_entries")
    op.drop_column("ledger_entries", "gpu_kind")
    op.drop_column("ledger_entries", "tier")
    op.drop_column("users", "share_weight")
    op.drop_column("jobs", "preempt_requested_at")
