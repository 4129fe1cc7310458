"""What was imported from another store or copied from another server."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "transfer_id",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("own_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "kind", "source_id", name=op.f("pk_transfer_id")),
    )
    op.create_table(
        "transfer_range",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("lo", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("own_lo", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "lo", name=op.f("pk_transfer_range")),
    )
    op.create_table(
        "transfer_position",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "part", name=op.f("pk_transfer_position")),
    )


def downgrade() -> None:
    op.drop_table("transfer_position")
    op.drop_table("transfer_range")
    op.drop_table("transfer_id")
