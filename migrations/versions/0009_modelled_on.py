"""on which measured figures of a device an estimate rested

Revision: 0009, after 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("estimate_records", sa.Column("modelled_on", sa.String(), nullable=True))


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_column("estimate_records", "modelled_on")
