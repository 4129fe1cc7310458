"""Request bodies for tests, and a look at the tables."""

import sqlalchemy as sa

CAR = "cz.icecars.iot4cps-wp5-CarFleet.Car1"
STATION = "is.iceland.iot4cps-wp5-WeatherService.Stations"

POINT = {"type": "Point", "coordinates": [13.04, 47.8]}
OM = "http://www.opengis.net/def/observationType/OGC-OM/2.0/"


def location(name="here", geometry=None):
    return {
        "name": name,
        "description": "a place",
        "encodingType": "application/geo+json",
        "location": geometry or POINT,
    }


def thing(name="thing", **more):
    return {"name": name, "description": "a thing", **more}


def sensor(name="sensor"):
    return {"name": name, "description": "a sensor", "encodingType": "text/html", "metadata": "https://example.org"}


def observed_property(name="temperature"):
    return {"name": name, "description": "how warm", "definition": "https://example.org/temperature"}


def datastream(name="stream", **more):
    return {
        "name": name,
        "description": "a stream",
        "observationType": f"{OM}OM_Measurement",
        "unitOfMeasurement": {"name": "degree Celsius", "symbol": "degC", "definition": "ucum:Cel"},
        **more,
    }


def whole(name="thing", **more):
    """A Thing with a Location and one Datastream, all new."""
    stream = datastream(Sensor=sensor(), ObservedProperty=observed_property(), **more)
    return thing(name, Locations=[location()], Datastreams=[stream])


def rows(store, table, **where):
    query = sa.select(table).where(*(table.c[k] == v for k, v in where.items())).order_by(*table.primary_key.columns)
    with store.reader() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]
