"""models have owners of their own names, and are private until an administrator publishes them

Revision: 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column(
        "base_models", sa.Column("visibility", sa.String(), server_default="public", nullable=False)
    )
    op.execute("UPDATE base_models SET visibility = 'private' WHERE owner_id IS NOT NULL")
    op.drop_constraint(op.f("uq_base_models_name"), "base_models", type_="unique")
    op.create_unique_constraint(
        op.f("uq_base_models_owner_id_name"),
        "base_models",
        ["owner_id", "name"],
        postgresql_nulls_not_distinct=True,
    )


def downgrade() -> None:
    """Go back to the revision before; of models with one name the oldest stays."""
    op.execute(
        "DELETE FROM base_models a USING base_models b WHERE a.name = b.name AND "
        "(a.created_at, a.id) > (b.created_at, b.id)"
    )
    op.drop_constraint(op.f("uq_base_models_owner_id_name"), "base_models", type_="unique")
    op.create_unique_constraint(op.f("uq_base_models_name"), "base_models", ["name"])
    op.drop_column("base_models", "visibility")
