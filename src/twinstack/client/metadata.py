"""Where a client registers its instances and finds Datastreams: the seam, and its implementation over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from twinstack.client.http import HttpServer
from twinstack.client.plain import PlainRegistration, PlainServer, is_platform
from twinstack.core.errors import NotFound, TwinstackError, UnknownSystem
from twinstack.core.instances import load_instances

Entity = dict[str, Any]
"""A Datastream: `@iot.id`, `name`, `observationType`, `unitOfMeasurement`, and in full `Thing`, `Sensor`,
`ObservedProperty`; `log_key` where it differs from the name."""

_EXPAND = "Thing,Sensor,ObservedProperty"
_NO_SUCH_PLACE = frozenset({400, 404, 405, 501})


@dataclass(frozen=True, slots=True)
class Registration:
    """What `register` did: local name -> entity; each carries `status` created, changed or unchanged."""

    system: str
    things: Mapping[str, Entity]
    sensors: Mapping[str, Entity]
    datastreams: Mapping[str, Entity]
    created_system: bool = False
    statuses: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        sections = {"Things": self.things, "Sensors": self.sensors, "Datastreams": self.datastreams}
        statuses = {
            f"{section}.{local}": str(entity.get("status", "unchanged"))
            for section, entities in sections.items()
            for local, entity in entities.items()
        }
        object.__setattr__(self, "statuses", statuses)

    def count(self, status: str) -> int:
        return sum(1 for s in self.statuses.values() if s == status)

    def __str__(self) -> str:
        counts = (f"{self.count(s)} {s}" for s in ("created", "changed", "unchanged") if self.count(s))
        return ", ".join(counts) or "nothing to register"


class Metadata(Protocol):
    """All calls are made from one thread at a time."""

    def register(self, client_name: str, document: Mapping[str, Any]) -> Registration:
        """Upsert by name. Errors: InvalidInstances, UnknownSystem, PermissionDenied, Unreachable, TimedOut."""
        ...

    def find(self, names: Sequence[str]) -> dict[str, Entity]:
        """Full name -> Datastream; names that nobody knows, or that may not be seen, are left out."""
        ...

    def get(self, datastream_id: int) -> Entity | None: ...

    def ping(self, timeout_s: float) -> None:
        """Errors: Unreachable that names the address, within the time-out."""
        ...

    def close(self) -> None: ...


class HttpMetadata:
    """The platform's registration and its SensorThings API; or any SensorThings server, 1.0 or 1.1, which has no
    registration of its own (FROST, GOST): entity by entity then."""

    def __init__(self, server: HttpServer, system: str, version: str = "v1.1") -> None:
        self._server = server
        self._system = system
        self._version = version

    def register(self, client_name: str, document: Mapping[str, Any]) -> Registration:
        body = json.dumps({"client": client_name, "instances": document}).encode()
        path = f"/api/v1/systems/{quote(self._system)}/instances"
        try:
            answer = self._server.request("POST", path, body=body, headers={"Content-Type": "application/json"})
        except TwinstackError as error:
            if error.fields.get("status") in _NO_SUCH_PLACE and not is_platform(error):
                return self._register_plainly(document)
            if not isinstance(error, NotFound):
                raise
            raise UnknownSystem(
                f"The system '{self._system}' is not known at {self._server.shown}: {error.message}",
                fix=error.fix or f"Create it: twinstack system add {self._system}",
                reply=error.fields.get("reply"),
            ) from None
        reply = _decode(answer.content, self._server.shown)
        return Registration(
            system=str(reply.get("system", self._system)),
            things=reply.get("Things", {}),
            sensors=reply.get("Sensors", {}),
            datastreams=reply.get("Datastreams", {}),
            created_system=bool(reply.get("created_system", False)),
        )

    def _register_plainly(self, document: Mapping[str, Any]) -> Registration:
        self._find_version()
        run = PlainRegistration(PlainServer(self._server, self._version))
        run.run(load_instances(document, self._system))
        return Registration(self._system, run.things, run.sensors, run.datastreams)

    def find(self, names: Sequence[str]) -> dict[str, Entity]:
        found: dict[str, Entity] = {}
        for name in names:
            literal = name.replace("'", "''")
            query = {"$filter": f"name eq '{literal}'", "$expand": _EXPAND, "$top": "1"}
            answer = self._server.request("GET", f"/{self._version}/Datastreams", query=query)
            for entity in _decode(answer.content, self._server.shown).get("value", []):
                found[name] = entity
        return found

    def get(self, datastream_id: int) -> Entity | None:
        path = f"/{self._version}/Datastreams({int(datastream_id)})"
        try:
            answer = self._server.request("GET", path, query={"$expand": _EXPAND})
        except NotFound:
            return None
        return _decode(answer.content, self._server.shown)

    def ping(self, timeout_s: float) -> None:
        try:
            self._find_version(timeout_s)
        except TwinstackError as error:
            if "status" not in error.fields:
                raise
            # it answered: whether this client may read is decided call by call

    def _find_version(self, timeout_s: float | None = None) -> None:
        """The given version, unless the server has only the other one (GOST has no 1.1)."""
        other = "v1.0" if self._version == "v1.1" else "v1.1"
        try:
            self._server.request("GET", f"/{self._version}", timeout_s=timeout_s)
        except TwinstackError as error:
            if error.fields.get("status") not in _NO_SUCH_PLACE:
                raise
            self._server.request("GET", f"/{other}", timeout_s=timeout_s)
            self._version = other

    def close(self) -> None:
        self._server.close()


def _decode(content: bytes, shown: str) -> dict[str, Any]:
    try:
        reply = msgspec.json.decode(content)
    except msgspec.DecodeError:
        reply = None
    if not isinstance(reply, dict):
        raise NotFound(
            f"{shown} answers, but not as a SensorThings server.",
            fix="Point gost_servers at a SensorThings server.",
        )
    return reply
