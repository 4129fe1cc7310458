"""What SQLite lacks and PostgreSQL has, as Python functions on its connections: geometry, and case by Unicode.

None of them raises: SQLite would end the statement, and one odd row would fail a whole query.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twinstack.query import geometry
from twinstack.query.sqlgeo import BOX_FUNCTION, SQLITE_NAMES


def _case(change: Callable[[str], str]) -> Callable[[Any], Any]:
    return lambda value: change(value) if isinstance(value, str) else None


def register(connection: Any) -> None:
    """Registers the functions on one connection of pysqlite; they live as long as it."""
    for name, sql_name in SQLITE_NAMES.items():
        arguments = 1 if name == "geo.length" else 3 if name == "st_relate" else 2
        connection.create_function(sql_name, arguments, partial(geometry.call, name), deterministic=True)
    connection.create_function(BOX_FUNCTION, 4, geometry.from_box, deterministic=True)
    connection.create_function("unicode_lower", 1, _case(str.lower), deterministic=True)
    connection.create_function("unicode_upper", 1, _case(str.upper), deterministic=True)
