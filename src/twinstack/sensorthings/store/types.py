"""Column types that are the same on every database of the store."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine


def dumps(value: Any) -> str:
    """JSON text as the store keeps it. The stdlib's encoder, because msgspec stops at integers of 64 bits."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Json(sa.types.TypeDecorator[Any]):
    """Any JSON value; None is SQL NULL. Not sqlalchemy.JSON: SQLite gives a column called JSON numeric affinity."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            from sqlalchemy.dialects import postgresql  # brings three drivers: not where SQLite is used

            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value if value is None or dialect.name == "postgresql" else dumps(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return json.loads(value) if isinstance(value, str) and dialect.name != "postgresql" else value


class Kind(sa.types.UserDefinedType[str]):
    """`observation.kind`, one letter: PostgreSQL's one-byte type, a text on SQLite."""

    cache_ok = True

    def get_col_spec(self, **kw: Any) -> str:
        return '"char"'


class Result(sa.types.UserDefinedType[Any]):
    """`observation.result`: a double on PostgreSQL; on SQLite no type, so that int, float and text keep theirs."""

    cache_ok = True

    def get_col_spec(self, **kw: Any) -> str:
        return ""
