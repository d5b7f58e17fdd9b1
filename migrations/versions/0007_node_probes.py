"""what nodes measured of their devices

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    column = sa.Column("probes", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False)
    op.add_column("nodes", column)


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_column("nodes", "probes")
