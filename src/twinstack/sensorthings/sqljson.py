"""SQL for JSON columns and id lists, one `@compiles` for each database of the store."""

from __future__ import annotations

from collections.abc import Callable
from string import Formatter
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from twinstack.query.sql import Type, Value
from twinstack.query.sqlfunctions import compared
from twinstack.query.sqlgeo import Shape
from twinstack.sensorthings.store.prepared import in_ids

__all__ = ["JsonMember", "ResultText", "in_ids", "json_instant", "json_value"]

Part = Literal["key", "null", "number", "text", "boolean", "whole", "json", "rank", "order"]
"""What is asked of a member: its sort key (SQLite), whether it is null or missing, its value when it has that type,
a whole number, its JSON text; and on PostgreSQL, which sorts no mixed types, its rank and its number for sorting."""

_SQLITE: dict[Part, str] = {
    "key": "{value}",
    "null": "({value} IS NULL)",
    "number": "CASE WHEN {kind} IN ('integer', 'real') THEN {value} END",
    "text": "CASE WHEN {kind} = 'text' THEN {value} END",
    "boolean": "CASE {kind} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END",
    "whole": "{value}",
    "json": "{value}",
}
_POSTGRESQL: dict[Part, str] = {
    "null": "(coalesce(jsonb_typeof({value}), 'null') = 'null')",
    "number": "CASE WHEN jsonb_typeof({value}) = 'number' THEN CAST({value} AS double precision) END",
    "text": "(CASE WHEN jsonb_typeof({value}) = 'string' THEN {value} #>> '{{}}' END) COLLATE \"C\"",
    "boolean": "CASE WHEN jsonb_typeof({value}) = 'boolean' THEN CAST({value} AS boolean) END",
    "whole": "CASE WHEN jsonb_typeof({value}) = 'number' THEN CAST({value} AS bigint) END",
    "json": "CAST({value} AS text)",
    "rank": "CASE WHEN coalesce(jsonb_typeof({value}), 'null') = 'null' THEN NULL"
    " WHEN jsonb_typeof({value}) IN ('number', 'boolean') THEN 1 ELSE 2 END",
    "order": "CASE jsonb_typeof({value}) WHEN 'number' THEN CAST({value} AS double precision)"
    " WHEN 'boolean' THEN CAST(CAST(CAST({value} AS boolean) AS integer) AS double precision) END",
}
_TYPES: dict[Part, sa.types.TypeEngine[Any]] = {
    "null": sa.Boolean(),
    "number": sa.Double(),
    "text": sa.Text(),
    "boolean": sa.Boolean(),
    "whole": sa.BigInteger(),
    "json": sa.Text(),
    "rank": sa.Integer(),
    "order": sa.Double(),
}


class JsonMember(FunctionElement[Any]):
    """A part of the member of a JSON column behind `keys`; a number among them is a place in an array, or a name."""

    inherit_cache = False
    _traverse_internals = compared("part")
    name = "json_member"

    def __init__(self, part: Part, column: sa.ColumnElement[Any], keys: tuple[str, ...]) -> None:
        self.part = part
        self.type = _TYPES.get(part, sa.types.NULLTYPE)
        # Keys come from the grammar of paths, which has no quote: they cannot end the quoted label.
        paths = ["$" + "".join(f'."{key}"' for key in keys)]
        if any(map(str.isdigit, keys)):
            paths.insert(0, "$" + "".join(f"[{key}]" if key.isdigit() else f'."{key}"' for key in keys))
        self.paths = len(paths)
        array = "{" + ",".join(f'"{key}"' for key in keys) + "}"
        super().__init__(column, sa.literal(array, sa.Text()), *(sa.literal(path, sa.Text()) for path in paths))


@compiles(JsonMember, "sqlite")
def _member_sqlite(element: JsonMember, compiler: Any, **kw: Any) -> str:
    column, _, *paths = element.clauses
    pattern = _SQLITE[element.part]

    def ask(function: str) -> str:
        ways = [f"{function}({compiler.process(column, **kw)}, {compiler.process(path, **kw)})" for path in paths]
        return ways[0] if len(ways) == 1 else f"coalesce({', '.join(ways)})"

    return _filled(pattern, lambda: ask("json_extract"), lambda: ask("json_type"))


@compiles(JsonMember, "postgresql")
def _member_postgresql(element: JsonMember, compiler: Any, **kw: Any) -> str:
    column, array, *_ = element.clauses

    def value() -> str:
        return f"({compiler.process(column, **kw)} #> CAST({compiler.process(array, **kw)} AS text[]))"

    return _filled(_POSTGRESQL[element.part], value, value)


def _filled(pattern: str, value: Callable[[], str], kind: Callable[[], str]) -> str:
    """The pattern with its places filled from left to right: parameters are bound by their place in the text."""
    text = ""
    for literal, name, _, _ in Formatter().parse(pattern):
        text += literal + ("" if name is None else kind() if name == "kind" else value())
    return text


class ResultText(FunctionElement[str]):
    """The text of an Observation's result, from its columns `result` and `extra`: only SQLite keeps it in the first."""

    type = sa.Text()
    inherit_cache = True
    name = "result_text"


@compiles(ResultText, "sqlite")
def _result_sqlite(element: ResultText, compiler: Any, **kw: Any) -> str:
    column, _ = element.clauses
    return str(compiler.process(column, **kw))


@compiles(ResultText, "postgresql")
def _result_postgresql(element: ResultText, compiler: Any, **kw: Any) -> str:
    _, extra = element.clauses
    return f"({compiler.process(extra, **kw)} ->> 'result') COLLATE \"C\""


def json_value(column: sa.ColumnElement[Any], keys: tuple[str, ...]) -> Value:
    """The member of a JSON column behind `keys` (none: the whole column), typed at run time."""
    source = sa.type_coerce(column, sa.Text())

    def member(part: Part) -> JsonMember:
        return JsonMember(part, source, keys)

    return Value(
        Type.ANY,
        member("key"),
        number=member("number"),
        text=member("text"),
        boolean=member("boolean"),
        is_null=member("null"),
        shape=Shape(member("json")),
        order=(member("rank"), member("order"), member("text")),
    )


def json_instant(column: sa.ColumnElement[Any], keys: tuple[str, ...]) -> JsonMember:
    """A member that holds microseconds since 1970 UTC."""
    return JsonMember("whole", sa.type_coerce(column, sa.Text()), keys)
