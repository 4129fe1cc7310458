"""PostGIS, where it is there: `query.sqlgeo` uses it for what all libraries agree on."""

from __future__ import annotations

import sqlalchemy as sa


def ensure(connection: sa.Connection) -> bool:
    """Makes the extension when the machine has PostGIS and the role may; whether the database has it now."""
    have = "SELECT count(*) FROM pg_extension WHERE extname = 'postgis'"
    available = "SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis'"
    if connection.exec_driver_sql(have).scalar():
        return True
    if not connection.exec_driver_sql(available).scalar():
        return False
    try:
        with connection.begin_nested():
            connection.exec_driver_sql("CREATE EXTENSION postgis")
    except sa.exc.DBAPIError:
        return False  # a superuser's work: `twinstack setup postgres` does it
    return True
