"""Registration: a whole instance file in one transaction, an upsert by full name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from twinstack.core.instances import Instances
from twinstack.sensorthings.model import DATASTREAM, OBSERVED_PROPERTY, SENSOR, THING, EntityType
from twinstack.sensorthings.store import catalogue, create, rows, systems
from twinstack.sensorthings.store.context import Created, Status, WriteContext
from twinstack.sensorthings.store.systems import SystemRow
from twinstack.sensorthings.store.transaction import Tx
from twinstack.sensorthings.validate import Draft, Ref, parse_create


@dataclass(frozen=True, slots=True)
class Registered:
    """One entity: Datastreams with everything around them (`catalogue.full`), others with their properties.
    In a dry run the ids of new entities are those they would have had now."""

    id: int
    status: Status
    entity: dict[str, Any]


@dataclass(slots=True)
class RegisterResult:
    """By local quantity name of the file; ObservedProperties by full name."""

    system: str
    dry_run: bool
    things: dict[str, Registered] = field(default_factory=dict)
    sensors: dict[str, Registered] = field(default_factory=dict)
    observed_properties: dict[str, Registered] = field(default_factory=dict)
    datastreams: dict[str, Registered] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Undo(Exception):
    pass


def register(tx: Tx, instances: Instances, client: str, *, dry_run: bool = False) -> RegisterResult:
    """Errors: UnknownSystem, InvalidInput, PermissionDenied. A dry run answers the same and stores nothing."""
    owner = systems.get(tx.connection, instances.system)
    # 1.0, because there the repeated name of a nested entity is a merge too.
    ctx = WriteContext(system=owner.name, version="1.0", client=client)
    result = RegisterResult(owner.name, dry_run)
    try:
        with tx.savepoint():
            _register(tx, instances, owner, ctx, result)
            if dry_run:
                raise _Undo
    except _Undo:
        pass
    return result


def _register(tx: Tx, instances: Instances, owner: SystemRow, ctx: WriteContext, result: RegisterResult) -> None:
    ids: dict[tuple[str, str], int] = {}
    for section, entity, into in (
        (instances.things, THING, result.things),
        (instances.sensors, SENSOR, result.sensors),
    ):
        for local, body in section.items():
            made = _upsert(tx, parse_create(entity, body, "1.1"), owner, ctx)
            ids[entity.name, body["name"]] = made.id
            into[local] = Registered(made.id, made.status, catalogue.one(tx.connection, entity, made.id))
    made_streams: dict[str, Created] = {}
    for local, instance in instances.datastreams.items():
        observed = instance.observed_property
        if (OBSERVED_PROPERTY.name, observed["name"]) not in ids:
            made = _upsert(tx, parse_create(OBSERVED_PROPERTY, observed, "1.1"), owner, ctx)
            ids[OBSERVED_PROPERTY.name, observed["name"]] = made.id
            entity_json = catalogue.one(tx.connection, OBSERVED_PROPERTY, made.id)
            result.observed_properties[observed["name"]] = Registered(made.id, made.status, entity_json)
        draft = parse_create(DATASTREAM, instance.entity, "1.1")
        for link, name in (
            (THING, instance.thing),
            (SENSOR, instance.sensor),
            (OBSERVED_PROPERTY, observed["name"]),
        ):
            draft.links[link.name] = [Ref(ids[link.name, name])]
        made_streams[local] = _upsert(tx, draft, owner, ctx)
    full = catalogue.full(tx.connection, [made.id for made in made_streams.values()])
    for local, made in made_streams.items():
        result.datastreams[local] = Registered(made.id, made.status, full[made.id])


def _upsert(tx: Tx, draft: Draft, owner: SystemRow, ctx: WriteContext) -> Created:
    entity: EntityType = draft.entity
    existing = rows.by_name(tx.connection, entity, draft.values["name"])
    if existing is None:
        return create.create(tx, draft, ctx, owner.id)
    return create.merge(tx, draft, existing, owner, ctx)
