"""jobs over several nodes

Revision: 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("nodes", sa.Column("address", sa.String(), nullable=True))
    op.add_column("jobs", sa.Column("max_nodes", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("jobs", sa.Column("master_port", sa.Integer(), nullable=True))
    op.create_table(
        "job_shares",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("node_rank", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("devices", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("lease_hash", sa.String(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("log_excerpt", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_shares_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_job_shares_node_id_nodes")),
        sa.PrimaryKeyConstraint("job_id", "attempt", "node_rank", name=op.f("pk_job_shares")),
    )
    op.create_index(op.f("ix_job_shares_node_id"), "job_shares", ["node_id"], unique=False)


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_index(op.f("ix_job_shares_node_id"), table_name="job_shares")
    op.drop_table("job_shares")
    op.drop_column("jobs", "master_port")
    op.drop_column("jobs", "max_nodes")
    op.drop_column("nodes", "address")
