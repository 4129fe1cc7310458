"""Copy of another party's SensorThings server into one system of this store: entities, links, Observations.

Each page is one transaction together with which source id became which id here, so a copy that was killed goes on, and
one that is repeated brings what is new and what has changed. What the source has deleted stays here.

Observations are asked for in the order of ids behind the last one that was copied, where ids are numbers and the server
understands it; elsewhere page by page, and each Observation's id is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, NotFound, TwinstackError
from twinstack.core.names import DEFAULT_SYSTEM
from twinstack.sensorthings import validate
from twinstack.sensorthings.model import (
    BY_NAME,
    ENTITY_TYPES,
    FEATURE,
    LOCATION,
    OBSERVATION,
    THING,
    ByTable,
    EntityType,
    Link,
    PropertyType,
)
from twinstack.sensorthings.store import Store, WriteContext, copies, create, moves, observations, systems
from twinstack.sensorthings.store.transaction import Tx
from twinstack.sensorthings.store.values import NewObservation
from twinstack.sensorthings.transfer.mapping import Transfer
from twinstack.sensorthings.transfer.source import Entity, Id, Refused, Source, id_of, literal
from twinstack.sensorthings.validate import Draft, Ref

Progress = Callable[[str, int], None]
"""The set that is copied, and how many of it are done."""

_REFUSALS_KEPT = 100


@dataclass(slots=True)
class Copied:
    """Counts by set; `refused` with the first reasons."""

    source: str
    version: str
    created: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    unchanged: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def count(self, status: str, set_name: str, n: int = 1) -> None:
        counts: dict[str, int] = getattr(self, status)
        if n:
            counts[set_name] = counts.get(set_name, 0) + n

    def refuse(self, set_name: str, source_id: Id, error: TwinstackError) -> None:
        self.count("refused", set_name)
        if len(self.reasons) < _REFUSALS_KEPT:
            self.reasons.append(f"{set_name}({literal(source_id)}): {error.message}")


def order() -> list[EntityType]:
    """Entity types, each behind what it must link to; Observations are copied by themselves."""
    done: list[EntityType] = []
    waiting = [t for t in ENTITY_TYPES if not _needs_observations(t)]
    while waiting:
        names = {t.name for t in waiting}
        ready = [t for t in waiting if not any(link.target in names for link in t.links if _is_needed(link))]
        assert ready  # no type needs itself
        done += ready
        waiting = [t for t in waiting if t not in ready]
    return done


def _is_needed(link: Link) -> bool:
    return not link.many or link.mandatory


def _needs_observations(entity: EntityType) -> bool:
    return entity is OBSERVATION or any(
        link.target == OBSERVATION.name and (not link.many or isinstance(link.join, ByTable)) for link in entity.links
    )


_BEHIND = [t for t in ENTITY_TYPES if t is not OBSERVATION and _needs_observations(t)]


def copy(store: Store, source: Source, *, system: str | None = None, progress: Progress | None = None) -> Copied:
    """Copies everything into `system` (None: the default system). Errors: UnknownSystem, those of Source and store."""
    source.open()
    run = _Copy(store, source, system or DEFAULT_SYSTEM, progress or (lambda _set, _n: None))
    for entity in run.order:
        if entity.set_name in source.sets:
            run.entities(entity)
        if entity.name == "HistoricalLocation":
            run.places()
    run.history()
    run.behind_history()
    return run.copied


class _Copy:
    def __init__(self, store: Store, source: Source, system: str, progress: Progress) -> None:
        self._store = store
        self._source = source
        self._transfer = Transfer(source.name)
        self._progress = progress
        self._ctx = WriteContext(system=system, version="1.1", client="copy")
        self.copied = Copied(source.name, source.version)
        self.order = order()
        self._streams: list[tuple[EntityType, Id]] = []
        if system == DEFAULT_SYSTEM:
            store.write(systems.default_system, emits=False).result()
        store.system(system)

    # --- entities ---------------------------------------------------------------------------------------------------
    def entities(self, entity: EntityType) -> None:
        """All of one set with their links to what was copied before."""
        links = [link for link in entity.links if self._carries(entity, link)]
        options = {"$top": str(limits.SOURCE_PAGE_ROWS), "$orderby": "id"}
        if links:
            options["$expand"] = ",".join(link.name for link in links)
        done = 0
        for page in self._pages(entity.set_name, options):
            linked = [
                (one, {link: self._targets(one, link) for link in links if link.name in one}) for one in page.entities
            ]
            self._store.write(lambda tx, rows=linked: self._put(tx, entity, rows)).result()  # type: ignore[misc]
            if entity.link("Observations") is not None and entity is not FEATURE:
                self._streams += [(entity, id_of(one)) for one in page.entities]
            done += len(page.entities)
            self._progress(entity.set_name, done)

    def _carries(self, entity: EntityType, link: Link) -> bool:
        """Whether the entity is created with this link: what it leads to was copied before."""
        target = BY_NAME[link.target]
        before = self.order[: self.order.index(entity)]
        # Where a Thing is follows later: it is no move of now.
        if target not in before or target.set_name not in self._source.sets or (entity is THING and target is LOCATION):
            return False
        return not link.many or link.mandatory or isinstance(link.join, ByTable)

    def _targets(self, one: Entity, link: Link) -> list[Id]:
        if link.many:
            return [id_of(target) for target in self._source.rest_of(one, link.name)]
        target = one[link.name]
        return [] if target is None else [id_of(target)]

    def _pages(self, path: str, options: dict[str, str]) -> Any:
        try:
            yield from self._source.pages(path, options)
        except Refused:
            if "$orderby" not in options:
                raise
            # Some servers know no order by id; what came before the refusal is found again by its id.
            yield from self._source.pages(path, {k: v for k, v in options.items() if k != "$orderby"})

    def _put(self, tx: Tx, entity: EntityType, rows: list[tuple[Entity, dict[Link, list[Id]]]]) -> None:
        since = len(tx.outgoing.meta)
        known = self._transfer.known(tx.connection, entity.set_name, [id_of(one) for one, _ in rows])
        for one, links in rows:
            source_id = id_of(one)
            own = known.get(str(source_id))
            try:
                with tx.savepoint():
                    draft = self._draft(tx, entity, one, links)
                    if own is None:
                        made = create.create(tx, draft, self._ctx)
                        self._transfer.add(tx.connection, entity.set_name, {str(source_id): made.id})
                    else:
                        owner = systems.get(tx.connection, str(self._ctx.system))
                        made = create.merge(tx, draft, own, owner, self._ctx)
            except TwinstackError as error:
                self.copied.refuse(entity.set_name, source_id, error)
                continue
            known[str(source_id)] = made.id
            self.copied.count(made.status, entity.set_name)
        copies.follow(tx, since)

    def _draft(self, tx: Tx, entity: EntityType, one: Entity, links: dict[Link, list[Id]]) -> Draft:
        draft = validate.parse_create(entity, _body(entity, one), "1.1")
        for link, targets in links.items():
            if not targets:
                continue
            target = BY_NAME[link.target]
            own = self._transfer.known(tx.connection, target.set_name, targets)
            missing = [i for i in targets if str(i) not in own]
            if missing:
                raise NotFound(f"Its {target.name} {missing[0]} was not copied.", fix="See the reasons above.")
            draft.links[link.name] = [Ref(own[str(i)]) for i in targets]
        return draft

    def places(self) -> None:
        """Where each Thing is now. The server would note the time of the copy for a move, so it is no move."""
        options = {"$top": str(limits.SOURCE_PAGE_ROWS), "$orderby": "id", "$expand": LOCATION.set_name}
        for page in self._pages(THING.set_name, options):
            rows = [
                (id_of(one), [id_of(place) for place in self._source.rest_of(one, LOCATION.set_name)])
                for one in page.entities
            ]
            self._store.write(lambda tx, rows=rows: self._place(tx, rows)).result()  # type: ignore[misc]

    def _place(self, tx: Tx, rows: list[tuple[Id, list[Id]]]) -> None:
        things = self._transfer.known(tx.connection, THING.set_name, [thing for thing, _ in rows])
        places = self._transfer.known(tx.connection, LOCATION.set_name, {i for _, where in rows for i in where})
        for thing, where in rows:
            own = sorted(places[str(i)] for i in where if str(i) in places)
            if (thing_id := things.get(str(thing))) is None or moves.locations_of(tx.connection, thing_id) == own:
                continue
            moves.place(tx, thing_id, own)
            moves.touch_entity(tx, THING, thing_id)

    def behind_history(self) -> None:
        """What links Observations: groups of them, and relations between two."""
        self.order += [OBSERVATION, *_BEHIND]
        for entity in _BEHIND:
            if entity.set_name in self._source.sets:
                self.entities(entity)

    # --- Observations -----------------------------------------------------------------------------------------------
    def history(self) -> None:
        ordered, expand = self._probe()
        done = 0
        for entity, source_id in self._streams:
            with self._store.reader() as connection:
                own = self._transfer.known(connection, entity.set_name, [source_id]).get(str(source_id))
            if own is not None:  # it was not refused
                done = self._stream(entity, source_id, own, done, ordered=ordered, expand=expand)

    def _probe(self) -> tuple[bool, str]:
        """Whether the server finds Observations behind an id, and how it shows their features."""
        for expand in ("FeatureOfInterest($select=id)", "FeatureOfInterest"):
            options = {"$filter": "id gt 0", "$orderby": "id", "$top": "1", "$expand": expand}
            try:
                found = self._source.page(OBSERVATION.set_name, options).entities
                if not found or _feature_id(found[0]) is not None:
                    return all(isinstance(id_of(one), int) for one in found), expand
            except (Refused, InvalidInput):
                continue
        return False, "FeatureOfInterest"

    def _stream(self, entity: EntityType, source_id: Id, own: int, done: int, *, ordered: bool, expand: str) -> int:
        path = f"{entity.set_name}({literal(source_id)})/Observations"
        part = f"Observations of {entity.set_name}({source_id})"
        options = {"$orderby": "id", "$top": str(limits.SOURCE_PAGE_ROWS), "$expand": expand}
        if not ordered:
            for page in self._pages(path, options):
                self._take(own, page.entities, part, None, None)
                done += len(page.entities)
                self._progress(OBSERVATION.set_name, done)
            return done
        with self._store.reader() as connection:
            before = self._transfer.position(connection, part)
        while True:
            page = self._source.page(path, {**options, "$filter": f"id gt {before or 0}"})
            if not page.entities:
                return done
            ids = [int(id_of(one)) for one in page.entities]
            if ids[0] <= int(before or 0) or ids != sorted(set(ids)):
                raise InvalidInput(
                    f"{self._source.name} gives Observations in another order than that of their ids.",
                    fix="Its $filter or $orderby by id does not work: ask its operator.",
                )
            last = str(ids[-1])
            self._take(own, page.entities, part, before, last)
            before = last
            done += len(page.entities)
            self._progress(OBSERVATION.set_name, done)
            if page.next_path is None and len(page.entities) < limits.SOURCE_PAGE_ROWS:
                return done

    def _take(self, own: int, entities: list[Entity], part: str, before: str | None, last: str | None) -> None:
        """One page: rows and position, or rows and ids, in one transaction."""
        features = self._features(entities)

        def work(tx: Tx) -> tuple[int, list[tuple[Id, TwinstackError]]]:
            if last is not None:
                self._transfer.advance(tx.connection, part, before, last)
                return self._rows(tx, own, entities, features, remember=self._are_linked())
            known = self._transfer.known(tx.connection, OBSERVATION.set_name, [id_of(one) for one in entities])
            new = [one for one in entities if str(id_of(one)) not in known]
            return self._rows(tx, own, new, features, remember=True)

        stored, refused = self._store.write(work, emits=False).result()
        self.copied.count("created", OBSERVATION.set_name, stored)
        self.copied.count("unchanged", OBSERVATION.set_name, len(entities) - stored - len(refused))
        for source_id, error in refused:
            self.copied.refuse(OBSERVATION.set_name, source_id, error)

    def _are_linked(self) -> bool:
        """Whether something at the source links Observations, so that their ids are needed."""
        return any(
            t.set_name in self._source.sets for t in ENTITY_TYPES if t is not OBSERVATION and _needs_observations(t)
        )

    def _features(self, entities: list[Entity]) -> dict[str, int]:
        """Source id -> own id of the features of a page; those that are new since are copied now."""
        wanted = {i for one in entities if (i := _feature_id(one)) is not None}
        with self._store.reader() as connection:
            known = self._transfer.known(connection, FEATURE.set_name, wanted)
        missing = [i for i in wanted if str(i) not in known]
        if missing:
            rows: list[tuple[Entity, dict[Link, list[Id]]]] = [
                (self._source.entity(f"{FEATURE.set_name}({literal(i)})"), {}) for i in missing
            ]
            self._store.write(lambda tx: self._put(tx, FEATURE, rows)).result()
            with self._store.reader() as connection:
                known = self._transfer.known(connection, FEATURE.set_name, wanted)
        return known

    def _rows(
        self, tx: Tx, own: int, entities: Sequence[Entity], features: dict[str, int], *, remember: bool
    ) -> tuple[int, list[tuple[Id, TwinstackError]]]:
        refused: list[tuple[Id, TwinstackError]] = []
        rows: list[NewObservation] = []
        ids: list[Id] = []
        for one in entities:
            feature = _feature_id(one)
            try:
                draft = validate.parse_create(OBSERVATION, _body(OBSERVATION, one), "1.1")
            except TwinstackError as error:
                refused.append((id_of(one), error))
                continue
            rows.append(create.new_observation(draft, own, features.get(str(feature)), tx.now_us))
            ids.append(id_of(one))
        outcomes = observations.insert_requests(tx, [(rows, True)], received=True)[0]
        pairs: dict[str, int] = {}
        for source_id, outcome in zip(ids, outcomes, strict=True):
            if isinstance(outcome, TwinstackError):
                refused.append((source_id, outcome))
            else:
                pairs[str(source_id)] = outcome
        if remember:
            self._transfer.add(tx.connection, OBSERVATION.set_name, pairs)
        return len(pairs), refused


def _feature_id(one: Entity) -> Id | None:
    feature = one.get("FeatureOfInterest")
    return id_of(feature) if isinstance(feature, dict) else None


def _body(entity: EntityType, one: Entity) -> dict[str, Any]:
    """The properties of an entity; a text that must be there and is not is empty, as old servers allow it."""
    body = {p.name: one[p.name] for p in entity.properties if p.name in one and not p.computed}
    for p in entity.properties:
        if p.mandatory and p.type is PropertyType.TEXT and body.get(p.name) is None:
            body[p.name] = ""
    return {name: value for name, value in body.items() if value is not None or name == "result"}
