"""chores, uploads, versions of datasets, and how much a person may store

Revision: 0010, after 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    _make_chores()
    _make_uploads()
    op.add_column("users", sa.Column("storage_quota_bytes", sa.BigInteger(), nullable=True))
    op.add_column("datasets", sa.Column("series_id", sa.String(), nullable=True))
    op.add_column("datasets", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.add_column("datasets", sa.Column("note", sa.String(), nullable=True))
    op.execute("UPDATE datasets SET series_id = id")
    op.alter_column("datasets", "series_id", nullable=False)
    op.drop_constraint(op.f("uq_datasets_owner_id_name"), "datasets", type_="unique")
    op.create_unique_constraint(
        op.f("uq_datasets_owner_id_name_version"),
        "datasets",
        ["owner_id", "name", "version"],
        postgresql_nulls_not_distinct=True,
    )
    op.create_unique_constraint(op.f("uq_datasets_series_id_version"), "datasets", ["series_id", "version"])


def _make_chores() -> None:
    op.create_table(
        "chores",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=True),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("progress", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("claim", sa.String(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_chores_owner_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chores")),
    )
    op.create_index(op.f("ix_chores_owner_id"), "chores", ["owner_id"], unique=False)
    op.create_index("ix_chores_subject_id", "chores", ["subject_id", "id"], unique=False)
    op.create_index(
        "uq_chores_open",
        "chores",
        ["kind", "subject_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )


def _make_uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_uploads_owner_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_owner_id"), "uploads", ["owner_id"], unique=False)
    op.create_index(op.f("ix_uploads_expires_at"), "uploads", ["expires_at"], unique=False)


def downgrade() -> None:
    """Go back to the revision before; of each dataset its newest version stays."""
    op.execute(
        "DELETE FROM datasets AS older USING datasets AS newer "
        "WHERE older.series_id = newer.series_id AND older.version < newer.version"
    )
    op.drop_constraint(op.f("uq_datasets_series_id_version"), "datasets", type_="unique")
    op.drop_constraint(op.f("uq_datasets_owner_id_name_version"), "datasets", type_="unique")
    op.create_unique_constraint(
        op.f("uq_datasets_owner_id_name"),
        "datasets",
        ["owner_id", "name"],
        postgresql_nulls_not_distinct=True,
    )
    op.drop_column("datasets", "note")
    op.drop_column("datasets", "version")
    op.drop_column("datasets", "series_id")
    op.drop_column("users", "storage_quota_bytes")
    op.drop_table("uploads")
    op.drop_table("chores")
