"""the audit trail, and charges that know their job after it is deleted

Revision: 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "audit_entries",
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("actor_id", sa.String(), nullable=True),
        sa.Column("actor_name", sa.String(), nullable=True),
        sa.Column("target_id", sa.String(), nullable=True),
        sa.Column("target_name", sa.String(), nullable=True),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_actor_id_id", "audit_entries", ["actor_id", "id"], unique=False)
    op.create_index("ix_audit_entries_action_id", "audit_entries", ["action", "id"], unique=False)
    op.create_index("ix_audit_entries_created_at", "audit_entries", ["created_at"], unique=False)
    op.drop_constraint(op.f("fk_ledger_entries_job_id_jobs"), "ledger_entries", type_="foreignkey")


def downgrade() -> None:
    """Go back to the revision before."""
    op.execute("UPDATE ledger_entries SET job_id = NULL WHERE job_id NOT IN (SELECT id FROM jobs)")
    op.create_foreign_key(
        op.f("fk_ledger_entries_job_id_jobs"),
        "ledger_entries",
        "jobs",
        ["job_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.drop_index("ix_audit_entries_created_at", table_name="audit_entries")
    op.drop_index("ix_audit_entries_action_id", table_name="audit_entries")
    op.drop_index("ix_audit_entries_actor_id_id", table_name="audit_entries")
    op.drop_table("audit_entries")
