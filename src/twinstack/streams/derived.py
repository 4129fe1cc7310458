"""Derived Datastreams: what an app makes has a Datastream of its own at the target, `<target>.<app>.<group>`.

One without keys of GROUP BY; else one for each entity of the sources that the key which names it can have (`full_name`,
`name`, `datastream`, `thing` or `system`). The platform registers them at deployment; a record names its own by the
log key, and by the id once the target's catalogue knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from twinstack.core import limits, names
from twinstack.query.streamsql.checked import CheckedItem, CheckedOutput, CheckedQuery, ColumnRef, key_column
from twinstack.query.streamsql.kinds import BOOL, FLOAT, INT, STRING, TIME, Kinds, of
from twinstack.streams.catalogue import Datastream, SystemCatalogue

ENTITY_KEYS = ("full_name", "name", "datastream", "thing", "system")
"""Of several among the keys the first one names the Datastream: it tells most."""

_TYPES: dict[Kinds, str] = {
    of(INT): "OM_CountObservation",
    of(FLOAT): "OM_Measurement",
    of(INT, FLOAT): "OM_Measurement",
    of(BOOL): "OM_TruthObservation",
    of(STRING): "OM_CategoryObservation",
    of(TIME): "OM_CategoryObservation",
}


@dataclass(frozen=True, slots=True)
class Derived:
    """One derived Datastream. `sources`: full names of the inputs' Datastreams."""

    group: str
    unit: str
    observation_type: str
    observed_property: str
    sources: tuple[str, ...]


def entity_key(checked: CheckedQuery) -> int | None:
    """Which key of GROUP BY names the Datastream."""
    if checked.group is None:
        return None
    columns = [key.name if isinstance(key, ColumnRef) else "" for key in checked.group.keys]
    return next((columns.index(name) for name in ENTITY_KEYS if name in columns), None)


def with_keys(checked: CheckedQuery) -> CheckedOutput:
    """What comes out of a window: keys that neither name the Datastream nor stand among the items are parameters too,
    else the windows of several keys could not be told apart."""
    output, group = checked.output, checked.group
    assert output is not None
    assert group is not None
    items = (output.result, *output.parameters)
    shown = {item.term.name for item in items if isinstance(item.term, ColumnRef)}
    names = {item.name for item in items}
    more: list[CheckedItem] = []
    for index, key in enumerate(group.keys):
        name = key.name if isinstance(key, ColumnRef) else f"key_{index + 1}"
        if index != entity_key(checked) and key_column(index) not in shown and name not in names:
            more.append(CheckedItem(name, ColumnRef(key.kinds, key.span, key_column(index)), None))
    return CheckedOutput(output.result, (*output.parameters, *more))


def single_group(checked: CheckedQuery) -> str:
    """The group of an app with one Datastream: its result's name."""
    return (checked.output.result.name if checked.output is not None else "") or "result"


def derived_streams(checked: CheckedQuery, inputs: Iterable[Datastream]) -> list[Derived]:
    """The Datastreams that the app writes to as far as its inputs are known; none where it forwards."""
    if checked.output is None:
        return []
    unit = checked.output.result.unit or ""
    kind = _TYPES.get(checked.output.result.term.kinds, "OM_Observation")
    groups: dict[str, list[Datastream]] = {}
    index = entity_key(checked)
    if index is None:
        groups[single_group(checked)] = list(inputs)
    else:
        assert checked.group is not None
        column = checked.group.keys[index]
        assert isinstance(column, ColumnRef)
        for each in inputs:
            groups.setdefault(str(getattr(each, column.name)), []).append(each)
    return [_derived(group, unit, kind, members, checked) for group, members in groups.items() if group]


def _derived(group: str, unit: str, kind: str, members: Sequence[Datastream], checked: CheckedQuery) -> Derived:
    observed = {each.observed_property for each in members if each.observed_property}
    # A count has no unit, and then it does not observe what its inputs do.
    same = len(observed) == 1 and checked.output is not None and checked.output.result.unit is not None
    return Derived(
        group=group,
        unit=unit,
        observation_type=kind,
        observed_property=next(iter(observed)) if same else single_group(checked),
        sources=tuple(sorted(each.full_name for each in members))[: limits.DERIVED_SOURCES_LISTED_MAX],
    )


def thing_name(app: str) -> str:
    """The Thing of an app's Datastreams: the app. A dot would begin the Datastream's name."""
    return app.replace(".", "_")


def log_key(target: str, app: str, group: str) -> str:
    return names.datastream_name(target, names.qualify(target, thing_name(app)), group)


class Targets:
    """Log keys and the `Datastream` object of records, by group."""

    def __init__(self, target: str, app: str, catalogue: SystemCatalogue) -> None:
        self._target = target
        self._app = app
        self._catalogue = catalogue
        self._made: dict[str, tuple[bytes, msgspec.Raw]] = {}

    def of(self, group: str) -> tuple[bytes, msgspec.Raw]:
        """The log key, and `{"@iot.id": ..., "name": ...}` as JSON."""
        found = self._made.get(group)
        if found is None:
            key = log_key(self._target, self._app, group)
            known = self._catalogue.by_key.get(key)
            link: dict[str, Any] = {"@iot.id": known.ids[0]} if known is not None and known.ids else {}
            found = key.encode(), msgspec.Raw(msgspec.json.encode({**link, "name": key}))
            if known is not None and len(self._made) < limits.APP_LOG_KEYS_MAX:
                self._made[group] = found
        return found


def instances_of(app: str, description: str, text: str, derived: Sequence[Derived]) -> dict[str, Any]:
    """An instance file of the app's Datastreams: the Thing is the app, the Sensor its query."""
    thing = thing_name(app)
    return {
        "Things": {"app": {"name": thing, "description": description or f"The stream app {app}."}},
        "Sensors": {
            "query": {
                "name": f"{thing} query",
                "description": f"The query of the stream app {app}.",
                "encodingType": "text/plain",
                "metadata": text,
            }
        },
        "Datastreams": {each.group: _instance(app, each) for each in derived},
    }


def _instance(app: str, each: Derived) -> dict[str, Any]:
    return {
        "name": each.group,
        "description": f"{each.group}, made by the stream app {app}.",
        "observationType": each.observation_type,
        "unitOfMeasurement": {"name": each.unit, "symbol": each.unit, "definition": ""},
        "properties": {"derivedFrom": list(each.sources)},
        "Thing": "app",
        "Sensor": "query",
        "ObservedProperty": {
            # Not the plain name: a property of that name of the target's own would be overwritten.
            "name": f"{thing_name(app)}.{each.observed_property}",
            "description": f"{each.observed_property}, as the stream app {app} makes it.",
            "definition": "",
        },
    }
