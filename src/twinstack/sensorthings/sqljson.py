"""SQL for JSON columns and id lists, one `@compiles` for each database of the store."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from twinstack.query.sql import Type, Value
from twinstack.sensorthings.store.prepared import in_ids

__all__ = ["in_ids", "json_value"]


class JsonKey(FunctionElement[Any]):
    """The sort key of a JSON member: null, then truth values and numbers, then texts; other JSON as its text."""

    inherit_cache = True
    name = "json_key"


class JsonType(FunctionElement[str]):
    """SQLite's word for the type of a JSON member: null true false integer real text array object, or SQL null."""

    type = sa.Text()
    inherit_cache = True
    name = "json_type"


@compiles(JsonKey, "sqlite")
def _key_sqlite(element: JsonKey, compiler: Any, **kw: Any) -> str:
    return f"json_extract({compiler.process(element.clauses, **kw)})"


@compiles(JsonType, "sqlite")
def _type_sqlite(element: JsonType, compiler: Any, **kw: Any) -> str:
    return f"json_type({compiler.process(element.clauses, **kw)})"


def json_value(column: sa.ColumnElement[Any], keys: tuple[str, ...]) -> Value:
    """The member of a JSON column behind `keys` (none: the whole column), typed at run time."""
    # Keys come from the grammar of paths, which has no quote: they cannot end the quoted label.
    path = sa.literal("$" + "".join(f'."{key}"' for key in keys), sa.Text())
    source = sa.type_coerce(column, sa.Text())
    key, kind = JsonKey(source, path), JsonType(source, path)
    return Value(
        Type.ANY,
        key,
        number=sa.case((sa.or_(kind == "integer", kind == "real"), key), else_=None),
        text=sa.case((kind == "text", key), else_=None),
        boolean=sa.case((kind == "true", sa.true()), (kind == "false", sa.false()), else_=None),
    )
