"""Geometry on PostgreSQL: PostGIS where it is there, and functions around it that answer null where PostGIS fails.

They catch errors, which no parallel plan may do: so they are not marked as parallel safe.
"""

from __future__ import annotations

import sqlalchemy as sa

_SHAPE_OF_JSON = """
CREATE OR REPLACE FUNCTION twinstack_shape(given jsonb) RETURNS geometry
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    shape geometry;
BEGIN
    CASE
        WHEN jsonb_typeof(given) = 'string' THEN
            shape := ST_GeomFromText(given #>> '{}', 4326);
        WHEN given ->> 'type' = 'Feature' THEN
            shape := ST_GeomFromGeoJSON(given -> 'geometry');
        WHEN given ->> 'type' = 'FeatureCollection' THEN
            SELECT ST_Collect(ST_GeomFromGeoJSON(f -> 'geometry')) INTO shape
            FROM jsonb_array_elements(given -> 'features') f WHERE jsonb_typeof(f -> 'geometry') = 'object';
        ELSE
            shape := ST_GeomFromGeoJSON(given);
    END CASE;
    shape := ST_SetSRID(ST_Force2D(shape), 4326);
    RETURN CASE WHEN ST_IsEmpty(shape) THEN NULL ELSE shape END;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;  -- what is no geometry has no place; it fails no query
END $$
"""
_SHAPE_OF_TEXT = """
CREATE OR REPLACE FUNCTION twinstack_shape(given text) RETURNS geometry
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN twinstack_shape(given::jsonb);
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$
"""

_PREDICATE = """
CREATE OR REPLACE FUNCTION twinstack_geo(relation text, a geometry, b geometry, pattern text DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE relation
        WHEN 'intersects' THEN ST_Intersects(a, b)
        WHEN 'equals' THEN ST_Equals(a, b)
        WHEN 'disjoint' THEN ST_Disjoint(a, b)
        WHEN 'touches' THEN ST_Touches(a, b)
        WHEN 'within' THEN ST_Within(a, b)
        WHEN 'overlaps' THEN ST_Overlaps(a, b)
        WHEN 'crosses' THEN ST_Crosses(a, b)
        WHEN 'contains' THEN ST_Contains(a, b)
        WHEN 'relate' THEN ST_Relate(a, b, pattern)
    END;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;  -- too broken to be compared
END $$
"""
_FUNCTIONS = (_SHAPE_OF_JSON, _SHAPE_OF_TEXT, _PREDICATE)


def ensure(connection: sa.Connection) -> bool:
    """Makes the functions when the database has PostGIS, and PostGIS when the role may; whether it has it now."""
    have = "SELECT count(*) FROM pg_extension WHERE extname = 'postgis'"
    available = "SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis'"
    if not connection.exec_driver_sql(have).scalar():
        if not connection.exec_driver_sql(available).scalar():
            return False
        try:
            with connection.begin_nested():
                connection.exec_driver_sql("CREATE EXTENSION postgis")
        except sa.exc.DBAPIError:
            return False  # a superuser's work: `twinstack setup postgres` does it
    made = "SELECT count(*) FROM pg_proc WHERE proname IN ('twinstack_shape', 'twinstack_geo')"
    if connection.exec_driver_sql(made).scalar() != len(_FUNCTIONS):
        for function in _FUNCTIONS:
            connection.exec_driver_sql(function)
    return True
