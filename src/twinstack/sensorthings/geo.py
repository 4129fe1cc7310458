"""Look-ups of geo functions for PostgreSQL: values that shapely computes before the statement runs.

Places are Locations, features and Datastreams: few beside the Observations that refer to them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twinstack.core import limits
from twinstack.core.errors import InvalidInput
from twinstack.query import geometry
from twinstack.query.sqlgeo import LookUp
from twinstack.sensorthings.plan import Level, Statement

if TYPE_CHECKING:
    from twinstack.sensorthings.connections import Session


def look_up(session: Session, level: Level, values: dict[str, Any]) -> None:
    """Adds to `values` the parameters that the statements of the level and of those below it need.

    Errors: InvalidInput when there are more places than a request may compute with."""
    for one, places in level.look_ups:
        if one.parameter not in values:
            values[one.parameter] = _computed(session, one, places, values)
    for child in level.children:
        look_up(session, child.level, values)


def _computed(session: Session, one: LookUp, places: Statement | None, values: dict[str, Any]) -> str | None:
    fixed = [None if name is None else values[name] for name in one.arguments]
    pattern = [] if one.pattern is None else [values[one.pattern].upper()]
    if places is None:
        value = geometry.call(one.function, *fixed, *pattern)
        return None if value is None else str(value)
    found: dict[int, Any] = {}
    for n, (place_id, text, *box) in enumerate(session.each(places, values)):
        if n >= limits.GEO_PLACES_MAX:
            raise InvalidInput(
                f"'{one.function}' would be computed for more than {limits.GEO_PLACES_MAX:,} places.",
                fix="Compare with a smaller area first: geo.intersects(location, geography'POLYGON (...)').",
            )
        own = geometry.from_box(*box) or text
        value = geometry.call(one.function, *(own if given is None else given for given in fixed), *pattern)
        if value is not None:
            found[place_id] = value
    return json.dumps(found)
