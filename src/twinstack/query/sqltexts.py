"""Functions on texts and numbers that databases know by one name and compute in different ways."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

BLANKS = " \t\n\r\f\v"


class Lower(FunctionElement[str]):
    """Lower case by Unicode: SQLite's own knows ASCII only, PostgreSQL's depends on the collation."""

    type = sa.Text()
    inherit_cache = True
    name = "unicode_lower"


class Upper(FunctionElement[str]):
    type = sa.Text()
    inherit_cache = True
    name = "unicode_upper"


class Trim(FunctionElement[str]):
    """Without blanks, tabs and line ends at both ends."""

    type = sa.Text()
    inherit_cache = True
    name = "trim_blanks"

    def __init__(self, text: sa.ColumnElement[Any]) -> None:
        super().__init__(text, sa.literal(BLANKS, sa.Text()))


class Round(FunctionElement[float]):
    """To the nearest whole number, a half away from zero (PostgreSQL's own rounds a double's half to even)."""

    type = sa.Double()
    inherit_cache = True
    name = "round_away"


@compiles(Lower, "sqlite")
@compiles(Upper, "sqlite")
def _case_sqlite(element: Lower | Upper, compiler: Any, **kw: Any) -> str:
    return f"{element.name}({compiler.process(element.clauses, **kw)})"


@compiles(Lower, "postgresql")
def _lower_postgresql(element: Lower, compiler: Any, **kw: Any) -> str:
    return f'lower(({compiler.process(element.clauses, **kw)}) COLLATE "und-x-icu") COLLATE "C"'


@compiles(Upper, "postgresql")
def _upper_postgresql(element: Upper, compiler: Any, **kw: Any) -> str:
    return f'upper(({compiler.process(element.clauses, **kw)}) COLLATE "und-x-icu") COLLATE "C"'


@compiles(Trim, "sqlite")
def _trim_sqlite(element: Trim, compiler: Any, **kw: Any) -> str:
    return f"trim({compiler.process(element.clauses, **kw)})"


@compiles(Trim, "postgresql")
def _trim_postgresql(element: Trim, compiler: Any, **kw: Any) -> str:
    return f"btrim({compiler.process(element.clauses, **kw)})"


@compiles(Round, "sqlite")
def _round_sqlite(element: Round, compiler: Any, **kw: Any) -> str:
    return f"round({compiler.process(element.clauses, **kw)})"


@compiles(Round, "postgresql")
def _round_postgresql(element: Round, compiler: Any, **kw: Any) -> str:
    number = compiler.process(element.clauses, **kw)
    return f"CAST(round(CAST({number} AS numeric)) AS double precision)"
