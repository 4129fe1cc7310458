"""What stands in an export, derived from the tables: sections in the order of their references, and who refers to whom.

docs/store.md is the format's description; `FORMAT` counts its changes.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import sqlalchemy as sa

from twinstack.core.errors import InvalidInput
from twinstack.sensorthings import validate
from twinstack.sensorthings.store import tables
from twinstack.sensorthings.store.types import Json

FORMAT = 1
HEADER, END, OBSERVATION = "twinstack_export", "end", "observation"

# The log's side of a store: its identity, what waits for the log, how far the archive has read, what was copied.
MOVED = (
    "store_info",
    "id_block",
    "outbox_head",
    "outbox",
    "archive_offset",
    "archive_dead",
    "transfer_id",
    "transfer_range",
    "transfer_position",
)
_APPS = ("app", "app_revision", "app_source")
# Made again by the import from what stands in other tables.
_DERIVED = ("datastream_stat", "datastream_feature", "dead_datastream", "entity_name", "observation_chunk")
# References without a foreign key.
_MORE_REFERENCES = {
    "copy_of": None,
    "datastream_id": "datastream",
    "feature_id": "feature",
    "subject_id": OBSERVATION,
    "object_id": OBSERVATION,
    "observation_id": OBSERVATION,
}


def sections(*, move: bool, system: bool) -> list[sa.Table]:
    """The tables of an export, all but `observation`, which is last. `system`: those of one system only."""
    left_out = {OBSERVATION, *MOVED, *_DERIVED, *(_APPS if system else ())}
    ordered = [table for table in tables.metadata.sorted_tables if table.name not in left_out]
    return [tables.BY_NAME[name] for name in MOVED] + ordered if move else ordered


def follows_observations(table: sa.Table) -> bool:
    """Whether rows refer to Observations, by themselves or through what they link: they stand behind them."""
    targets = references(table).values()
    return OBSERVATION in targets or any(
        follows_observations(tables.BY_NAME[target]) for target in targets if target != table.name
    )


def references(table: sa.Table) -> dict[str, str]:
    """Column -> the table whose `id` it holds."""
    found = {}
    for column in table.columns:
        if keys := column.foreign_keys:
            (key,) = keys
            if key.column.name == "id":
                found[column.name] = key.column.table.name
        elif column.name in _MORE_REFERENCES and table.name not in MOVED:
            found[column.name] = _MORE_REFERENCES[column.name] or table.name
    return found


def has_id(table: sa.Table) -> bool:
    """Whether its rows are things with an id of their own, not links."""
    return [column.name for column in table.primary_key.columns] == ["id"]


def to_json(table: sa.Table, row: sa.RowMapping) -> dict[str, Any]:
    """A row as an export holds it: bytes in base64, everything else as it is; nulls are left out."""
    values = {}
    for name, value in row.items():
        if value is not None:
            values[str(name)] = base64.b64encode(value).decode() if isinstance(value, bytes) else value
    return values


def from_json(table: sa.Table, values: Any) -> dict[str, Any]:
    """The columns of a row of an export. Errors: InvalidInput that names the column."""
    if not isinstance(values, dict):
        raise InvalidInput(f"A row of '{table.name}' is no object.", fix="Export it again.")
    row: dict[str, Any] = {}
    for name, value in values.items():
        column = table.columns.get(name)
        if column is None:
            raise InvalidInput(f"'{table.name}' has no column '{name[:80]}'.", fix="Was it written by a newer version?")
        row[name] = _value(table, column, value)
    for column in table.columns:
        if column.name not in row:
            if not column.nullable and column.server_default is None:
                raise InvalidInput(f"A row of '{table.name}' has no '{column.name}'.", fix="Export it again.")
            if column.nullable:
                row[column.name] = None
    return row


def _value(table: sa.Table, column: sa.Column[Any], value: Any) -> Any:
    kind = column.type
    if value is None and column.nullable:
        return None
    if isinstance(kind, Json):
        validate.check_value(value)
        return value
    if isinstance(kind, sa.LargeBinary) and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            pass
    elif isinstance(kind, sa.Boolean):
        if isinstance(value, bool):
            return value
    elif isinstance(kind, sa.Integer):
        if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
            return value
    elif isinstance(kind, sa.Text | sa.String):
        if isinstance(value, str):
            validate.check_nul(value)
            return value
    elif isinstance(kind, sa.Double | sa.Float) and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise InvalidInput(f"'{table.name}.{column.name}' cannot be {json.dumps(value)[:80]}.", fix="Export it again.")
