"""Registration at a SensorThings server of any kind, 1.0 or 1.1: entity by entity, an upsert by name.

Such a server knows nothing of systems, and names are not unique there: of several entities with one name the one that
came first is taken, so clients that registered at the same moment agree from then on. What changes is sent alone;
Sensors one key a request, because GOST takes no more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from twinstack.client.http import HttpServer
from twinstack.core.errors import InvalidInput, NotFound, TwinstackError, Unavailable
from twinstack.core.instances import DatastreamInstance, Instances

Entity = dict[str, Any]

_SINCE_11 = {name: frozenset({"properties"}) for name in ("Sensors", "ObservedProperties", "Datastreams", "Locations")}
_PAGES_MAX = 10_000
_FIX = "Point gost_servers at a SensorThings server, or at `twinstack up`."


class PlainServer:
    """Entities of one server. `version` is `v1.0` or `v1.1`. One thread at a time. Errors: those of HttpServer."""

    def __init__(self, server: HttpServer, version: str) -> None:
        self._server = server
        self.version = version
        self._filters = True

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Entity:
        return self._decoded(self._server.request("GET", f"/{self.version}/{path}", query=query).content)

    def by_name(self, set_name: str, name: str, expand: str = "") -> Entity | None:
        """The entity with this name that came first."""
        options = {"$expand": expand} if expand else {}
        if self._filters:
            literal = name.replace("'", "''")
            try:
                return _first(self._all(set_name, {"$filter": f"name eq '{literal}'", **options}), name)
            except (InvalidInput, Unavailable) as error:
                if "status" not in error.fields:
                    raise
                self._filters = False  # it cannot: look at all of them
        return _first(self._all(set_name, options), name)

    def _all(self, path: str, query: Mapping[str, str]) -> list[Entity]:
        page = self.get(path, query)
        found = list(page.get("value") or [])
        for _ in range(_PAGES_MAX):
            following = page.get("@iot.nextLink")
            # The server may believe in another address of itself: what stands behind the version counts.
            behind = re.search(r"/v1\.[01]/(.*)", str(following))
            if not found or behind is None:
                break
            link = urlsplit(behind[1])
            page = self.get(f"{link.path}?{quote(link.query, safe='%=&$()/,:;+*@!?-._~')}")
            found += page.get("value") or []
        return found

    def children(self, set_name: str, entity: Entity, child: str) -> list[Entity]:
        return self._all(f"{set_name}({literal(entity)})/{child}", {})

    def create(self, path: str, body: Entity) -> Entity:
        """The new entity as the server has it."""
        sent = self._known(path.rpartition("/")[2], body)
        answer = self._server.request("POST", f"/{self.version}/{path}", body=_json(sent), headers=_JSON)
        made = re.search(r"(\w+\((?:\d+|'.*')\))/?$", answer.headers.get("location", ""))
        if made is not None:
            return self.get(made[1])
        entity = self._decoded(answer.content)
        id_of(entity)
        return entity

    def change(self, set_name: str, entity: Entity, changes: Entity) -> None:
        changes = self._known(set_name, changes)
        parts = [{key: value} for key, value in changes.items()] if set_name == "Sensors" else [changes]
        for part in parts:
            if part:
                path = f"/{self.version}/{set_name}({literal(entity)})"
                self._server.request("PATCH", path, body=_json(part), headers=_JSON)

    def _known(self, set_name: str, body: Entity) -> Entity:
        """On 1.0 some sets have no `properties`; a server may refuse them."""
        unknown = _SINCE_11.get(set_name, frozenset()) if self.version == "v1.0" else frozenset()
        known = {key: value for key, value in body.items() if key not in unknown}
        if isinstance(places := known.get("Locations"), list):
            known["Locations"] = [self._known("Locations", place) for place in places]
        return known

    def differences(self, set_name: str, entity: Entity, wanted: Entity) -> Entity:
        """What of `wanted` the entity does not say, links aside."""
        return {k: v for k, v in self._known(set_name, wanted).items() if k != "Locations" and entity.get(k) != v}

    def _decoded(self, content: bytes) -> Entity:
        try:
            reply = msgspec.json.decode(content)
        except msgspec.DecodeError:
            reply = None
        if not isinstance(reply, dict):
            raise NotFound(f"{self._server.shown} answers, but not as a SensorThings server.", fix=_FIX)
        return reply


_JSON = {"Content-Type": "application/json"}


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


def id_of(entity: Entity) -> int | str:
    """Errors: NotFound when the answer is no entity."""
    found = entity.get("@iot.id", entity.get("id"))
    if not isinstance(found, int | str):
        raise NotFound("The metadata service sent an entity without id.", fix=_FIX)
    return found


def literal(entity: Entity) -> str:
    """The entity's id as it stands in a path."""
    found = id_of(entity)
    return str(found) if isinstance(found, int) else "'" + quote(found.replace("'", "''"), safe="") + "'"


def _first(entities: Sequence[Entity], name: str) -> Entity | None:
    """Numbers count as such, so that 9 comes before 10; texts have no better order than their own."""
    mine = [entity for entity in entities if entity.get("name") == name]
    return min(mine, key=lambda e: (isinstance(id_of(e), str), id_of(e)), default=None)


class PlainRegistration:
    """One run of `register`; the sections of its result by local name."""

    def __init__(self, server: PlainServer) -> None:
        self._server = server
        self.things: dict[str, Entity] = {}
        self.sensors: dict[str, Entity] = {}
        self.datastreams: dict[str, Entity] = {}

    def run(self, instances: Instances) -> None:
        """Errors: those of the server; what was registered before an error stays, and a repetition goes on."""
        by_name: dict[tuple[str, str], Entity] = {}
        for set_name, section, into in (
            ("Things", instances.things, self.things),
            ("Sensors", instances.sensors, self.sensors),
        ):
            for local, body in section.items():
                into[local] = by_name[set_name, body["name"]] = self._upsert(set_name, body)
        for local, stream in instances.datastreams.items():
            observed = stream.observed_property
            key = ("ObservedProperties", observed["name"])
            if key not in by_name:
                by_name[key] = self._upsert("ObservedProperties", observed)
            links = {
                "Thing": by_name["Things", stream.thing],
                "Sensor": by_name["Sensors", stream.sensor],
                "ObservedProperty": by_name[key],
            }
            self.datastreams[local] = self._datastream(stream, links)

    def _upsert(self, set_name: str, body: Entity) -> Entity:
        entity = self._server.by_name(set_name, body["name"])
        if entity is None:
            return {**_plain(self._server.create(set_name, body)), "status": "created"}
        changes = self._server.differences(set_name, entity, body)
        self._server.change(set_name, entity, changes)
        moved = self._places(entity, body) if set_name == "Things" and body.get("Locations") else False
        status = "changed" if changes or moved else "unchanged"
        return {**_plain(entity), **changes, "status": status}

    def _places(self, thing: Entity, body: Entity) -> bool:
        """The Thing's Locations by their names: changed ones are changed, a missing one is where it is now."""
        have = {place.get("name"): place for place in self._server.children("Things", thing, "Locations")}
        changed = False
        for place in body["Locations"]:
            if (known := have.get(place.get("name"))) is None:
                self._server.create(f"Things({literal(thing)})/Locations", place)
                changed = True
            elif changes := self._server.differences("Locations", known, place):
                self._server.change("Locations", known, changes)
                changed = True
        return changed

    def _datastream(self, stream: DatastreamInstance, links: Mapping[str, Entity]) -> Entity:
        refs = {name: {"@iot.id": id_of(target)} for name, target in links.items()}
        entity = self._server.by_name("Datastreams", stream.name, ",".join(links))
        if entity is None:
            entity, status = self._server.create("Datastreams", {**stream.entity, **refs}), "created"
            changes: Entity = {}
        else:
            changes = self._server.differences("Datastreams", entity, stream.entity)
            moved = {name: ref for name, ref in refs.items() if _linked(entity, name) != ref["@iot.id"]}
            self._server.change("Datastreams", entity, {**changes, **moved})
            status = "changed" if changes or moved else "unchanged"
        full = {name: {k: v for k, v in target.items() if k != "status"} for name, target in links.items()}
        return {**_plain(entity), **changes, **full, "status": status}


def _linked(entity: Entity, name: str) -> Any:
    target = entity.get(name)
    return id_of(target) if isinstance(target, dict) else None


def _plain(entity: Entity) -> Entity:
    """The entity without addresses, its id where every client looks for it."""
    kept = {key: value for key, value in entity.items() if "@" not in key and key != "id"}
    return {"@iot.id": id_of(entity), **kept}


def is_platform(error: TwinstackError) -> bool:
    """Whether an error came from a server of ours: its answers carry a word as `code`."""
    reply = error.fields.get("reply")
    return isinstance(reply, dict) and isinstance(reply.get("code"), str) and "fix" in reply
