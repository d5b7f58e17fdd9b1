"""profiles of datasets: lengths counted once for each tokenizer

Revision: 0012, after 0011.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "dataset_profiles",
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("tokenizer", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name=op.f("fk_dataset_profiles_dataset_id_datasets"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_profiles")),
        sa.UniqueConstraint("dataset_id", "tokenizer", name=op.f("uq_dataset_profiles_dataset_id_tokenizer")),
    )


def downgrade() -> None:
    """Go back to the revision before; profiles can be counted again."""
    op.execute("DELETE FROM chores WHERE kind = 'profile_dataset'")
    op.drop_table("dataset_profiles")
