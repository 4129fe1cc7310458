"""STAplus (OGC 22-022r1): Parties, Licenses, Campaigns, ObservationGroups, Relations and their links."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_LINKS = (("thing", "party"), ("datastream", "party"), ("datastream", "license"))


def upgrade() -> None:
    _party()
    _license()
    _campaign()
    _observation_group()
    _relation()
    _pair("campaign_datastream", "campaign", "datastream")
    _pair("campaign_observation_group", "campaign", "observation_group")
    _pair("group_relation", "observation_group", "relation")
    _group_observation()
    for table, target in _LINKS:
        _add_reference(table, target)


def _add_reference(table: str, target: str) -> None:
    name, key = f"{target}_id", f"fk_{table}_{target}_id"
    if op.get_bind().dialect.name == "sqlite":
        # Only within the column: SQLite adds no constraint to a table that is there.
        op.execute(f"ALTER TABLE {table} ADD COLUMN {name} INTEGER CONSTRAINT {key} REFERENCES {target} (id)")
    else:
        op.add_column(table, sa.Column(name, _id_type(), nullable=True))
        op.create_foreign_key(key, table, target, [name], ["id"])
    op.create_index(f"ix_{table}_{name}", table, [name])


def _id_type() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _json() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(postgresql.JSONB(), "postgresql")


def _id() -> sa.Column[int]:
    return sa.Column("id", _id_type(), autoincrement=False, nullable=False)


def _text(name: str, *, nullable: bool = True) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _owned() -> tuple[sa.Column[int], sa.Column[int], sa.Column[int], sa.Column[str]]:
    return (
        sa.Column("system_id", _id_type(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("copy_of", _id_type(), nullable=True),
        _text("grant_id"),
    )


def _create(table: str, *columns: sa.Column[int] | sa.Column[str], references: tuple[str, ...] = ()) -> None:
    """A table of entities; `references`: to-one links to these tables."""
    targets = (*references, "system")
    op.create_table(
        table,
        _id(),
        *columns,
        *(sa.Column(f"{target}_id", _id_type(), nullable=True) for target in references),
        *_owned(),
        *(
            sa.ForeignKeyConstraint([f"{target}_id"], [f"{target}.id"], name=f"fk_{table}_{target}_id")
            for target in targets
        ),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
    )
    for target in targets:
        op.create_index(f"ix_{table}_{target}_id", table, [f"{target}_id"])


def _party() -> None:
    _create("party", _text("role", nullable=False), _text("description"), _text("display_name"), _text("auth_id"))


def _license() -> None:
    _create(
        "license",
        _text("name", nullable=False),
        _text("definition", nullable=False),
        _text("description"),
        _text("logo"),
        _text("attribution_text"),
    )


def _campaign() -> None:
    _create(
        "campaign",
        _text("name", nullable=False),
        _text("description", nullable=False),
        _text("classification"),
        _text("terms_of_use", nullable=False),
        _text("privacy_policy"),
        sa.Column("creation_time", sa.BigInteger(), nullable=False),
        sa.Column("start_time", sa.BigInteger()),
        sa.Column("end_time", sa.BigInteger()),
        _text("url"),
        sa.Column("properties", _json()),
        references=("party", "license"),
    )


def _observation_group() -> None:
    _create(
        "observation_group",
        _text("name", nullable=False),
        _text("description", nullable=False),
        _text("purpose"),
        sa.Column("creation_time", sa.BigInteger(), nullable=False),
        sa.Column("end_time", sa.BigInteger()),
        _text("terms_of_use"),
        _text("privacy_policy"),
        sa.Column("data_quality", _json()),
        sa.Column("properties", _json()),
        references=("party", "license"),
    )


def _relation() -> None:
    _create(
        "relation",
        _text("role", nullable=False),
        _text("description"),
        _text("external_resource"),
        sa.Column("properties", _json()),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("object_id", sa.BigInteger()),
    )
    op.create_index("ix_relation_subject_id", "relation", ["subject_id"])
    op.create_index("ix_relation_object_id", "relation", ["object_id"])


def _pair(table: str, first: str, second: str) -> None:
    op.create_table(
        table,
        *(sa.Column(f"{target}_id", _id_type(), nullable=False) for target in (first, second)),
        *(
            sa.ForeignKeyConstraint([f"{target}_id"], [f"{target}.id"], name=f"fk_{table}_{target}_id")
            for target in (first, second)
        ),
        sa.PrimaryKeyConstraint(f"{first}_id", f"{second}_id", name=f"pk_{table}"),
    )
    op.create_index(f"ix_{table}_{second}_id", table, [f"{second}_id"])


def _group_observation() -> None:
    op.create_table(
        "group_observation",
        sa.Column("observation_group_id", _id_type(), nullable=False),
        sa.Column("observation_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["observation_group_id"], ["observation_group.id"], name="fk_group_observation_observation_group_id"
        ),
        sa.PrimaryKeyConstraint("observation_group_id", "observation_id", name="pk_group_observation"),
    )
    op.create_index("ix_group_observation_observation_id", "group_observation", ["observation_id"])


def downgrade() -> None:
    for table, target in reversed(_LINKS):
        op.drop_index(f"ix_{table}_{target}_id", table_name=table)
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(f"fk_{table}_{target}_id", type_="foreignkey")
            batch.drop_column(f"{target}_id")
    for table in (
        "group_observation",
        "group_relation",
        "campaign_observation_group",
        "campaign_datastream",
        "relation",
        "observation_group",
        "campaign",
        "license",
        "party",
    ):
        op.drop_table(table)
