"""SQL functions whose spelling differs between databases: one `@compiles` for each database of the store."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import InternalTraversal

_FORMATS = {"year": "'%Y'", "month": "'%m'", "day": "'%d'"}


def compared(*names: str) -> list[tuple[str, InternalTraversal]]:
    """The traversal of an element whose own attributes `names` (texts or truth values) tell it from others:
    without them SQLAlchemy takes `year(t)` and `month(t)` for the same column."""
    return [*FunctionElement._traverse_internals, *((name, InternalTraversal.dp_plain_obj) for name in names)]


class Position(FunctionElement[int]):
    """Where the second text begins in the first, from 1; 0 when it is not there."""

    type = sa.Integer()
    inherit_cache = True
    name = "position"


@compiles(Position, "sqlite")
def _position_sqlite(element: Position, compiler: Any, **kw: Any) -> str:
    return f"instr({compiler.process(element.clauses, **kw)})"


@compiles(Position, "postgresql")
def _position_postgresql(element: Position, compiler: Any, **kw: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **kw)})"


class CalendarPart(FunctionElement[int]):
    """year, month or day (UTC) of an instant in microseconds since 1970."""

    type = sa.Integer()
    inherit_cache = False
    _traverse_internals = compared("part")
    name = "calendar_part"

    def __init__(self, part: str, us: sa.ColumnElement[Any]) -> None:
        self.part = part
        super().__init__(us)


@compiles(CalendarPart, "sqlite")
def _calendar_sqlite(element: CalendarPart, compiler: Any, **kw: Any) -> str:
    us = f"({compiler.process(element.clauses, **kw)})"  # of any precedence
    # Integer division cuts towards zero; minus one second for a negative fraction makes it a floor.
    seconds = f"({us} / 1000000 - ({us} % 1000000 < 0))"
    return f"CAST(strftime({_FORMATS[element.part]}, {seconds}, 'unixepoch') AS INTEGER)"


@compiles(CalendarPart, "postgresql")
def _calendar_postgresql(element: CalendarPart, compiler: Any, **kw: Any) -> str:
    us = compiler.process(element.clauses, **kw)
    # Whole seconds by a floor, as above: a double would round the last microsecond of a year into the next one.
    time = f"to_timestamp(floor(CAST({us} AS numeric) / 1000000)) AT TIME ZONE 'UTC'"
    return f"CAST(extract({element.part} FROM {time}) AS integer)"
