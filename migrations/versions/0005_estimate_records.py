"""what estimates learn from

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "estimate_records",
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("gpu_kind", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("family", sa.String(), nullable=False),
        sa.Column("finetuning_type", sa.String(), nullable=False),
        sa.Column("modelled_setup_seconds", sa.Double(), nullable=False),
        sa.Column("modelled_work_seconds", sa.Double(), nullable=False),
        sa.Column("shown_low_seconds", sa.Double(), nullable=False),
        sa.Column("shown_expected_seconds", sa.Double(), nullable=False),
        sa.Column("shown_high_seconds", sa.Double(), nullable=False),
        sa.Column("actual_setup_seconds", sa.Double(), nullable=False),
        sa.Column("actual_work_seconds", sa.Double(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_estimate_records_job_id_jobs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_estimate_records")),
        sa.UniqueConstraint("job_id", name=op.f("uq_estimate_records_job_id")),
    )
    op.create_index("ix_estimate_records_gpu_kind_id", "estimate_records", ["gpu_kind", "id"], unique=False)


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_index("ix_estimate_records_gpu_kind_id", table_name="estimate_records")
    op.drop_table("estimate_records")
