"""A client without a server: the embedded log in this process, ids and entities in a JSON file beside it.

Names, bytes, errors and guarantees are those of a server; what is missing is other people. Several clients of one
folder in one process share its log, as the file of the log has one owner.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinstack.client.metadata import Entity, Registration
from twinstack.core import limits
from twinstack.core.errors import Unavailable
from twinstack.core.instances import DatastreamInstance, Instances, load_instances
from twinstack.core.names import SystemName, parse_system
from twinstack.log.seam import OutRecord, TopicSpec

if TYPE_CHECKING:
    from twinstack.log.seam import Log

LOG_FILE, METADATA_FILE = "log.sqlite", "metadata.json"
_SECTIONS = ("Things", "Sensors", "ObservedProperties", "Datastreams")


class LocalStore:
    """One folder: its log and its entities, shared by all clients of the folder in this process."""

    def __init__(self, folder: Path, log: Log | None = None) -> None:
        """`log` None opens the embedded log in the folder."""
        from twinstack.log.embedded import EmbeddedLog

        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.lock = threading.RLock()
        self.users = 0
        self.log: Log = log or EmbeddedLog(str(folder / LOG_FILE))
        self._path = folder / METADATA_FILE
        self._document = self._load()

    def _load(self) -> dict[str, dict[str, Entity]]:
        if not self._path.exists():
            return {section: {} for section in _SECTIONS}
        document: dict[str, dict[str, Entity]] = json.loads(self._path.read_text("utf-8"))
        return document

    def save(self) -> None:
        # write and rename: a killed process leaves the old file or the new one
        fresh = self._path.with_suffix(".new")
        try:
            with fresh.open("w", encoding="utf-8") as file:
                json.dump(self._document, file, indent=1, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise Unavailable(
                f"{self._path} cannot be written: {error.strerror}.", fix="Free space, or use another folder."
            ) from None

    def upsert(self, section: str, properties: Mapping[str, Any]) -> Entity:
        """The stored entity of this name; a copy with `status`."""
        stored = self._document[section]
        name = str(properties["name"])
        before = stored.get(name)
        if before is None:
            before = {"@iot.id": 1 + max((e["@iot.id"] for e in stored.values()), default=0)}
            status = "created"
        else:
            status = "unchanged" if all(before.get(k) == v for k, v in properties.items()) else "changed"
        stored[name] = {**before, **properties}
        return {**stored[name], "status": status}

    def by_name(self, section: str, name: str) -> Entity | None:
        return self._document[section].get(name)

    def datastream(self, name: str) -> Entity | None:
        """In full: with Thing, Sensor and ObservedProperty."""
        stored = self.by_name("Datastreams", name)
        if stored is None:
            return None
        full = {k: v for k, v in stored.items() if k not in ("Thing", "Sensor", "ObservedProperty")}
        full["Thing"] = self.by_name("Things", stored["Thing"])
        full["Sensor"] = self.by_name("Sensors", stored["Sensor"])
        full["ObservedProperty"] = self.by_name("ObservedProperties", stored["ObservedProperty"])
        return full

    def datastream_names(self) -> dict[int, str]:
        return {entity["@iot.id"]: name for name, entity in self._document["Datastreams"].items()}


_stores: dict[Path, LocalStore] = {}
_stores_lock = threading.Lock()


def open_store(folder: Path) -> LocalStore:
    """The store of a folder; close it once per opening."""
    key = folder.resolve()
    with _stores_lock:
        store = _stores.get(key) or LocalStore(key)
        _stores[key] = store
        store.users += 1
    return store


def close_store(store: LocalStore) -> None:
    with _stores_lock:
        store.users -= 1
        if store.users == 0:
            _stores.pop(store.folder, None)
            store.log.close()


class LocalMetadata:
    """Registration as the server does it: upsert by name, topics made, `.meta` written for what changed."""

    def __init__(self, store: LocalStore, system: str) -> None:
        self._store = store
        self._system = parse_system(system)

    def register(self, client_name: str, document: Mapping[str, Any]) -> Registration:
        instances = load_instances(document, str(self._system))
        with self._store.lock:
            make_topics(self._store.log, self._system)
            registration = self._upsert(instances)
            if registration.count("unchanged") < len(registration.statuses):
                self._store.save()
                self._publish(registration)
        return registration

    def _upsert(self, instances: Instances) -> Registration:
        things = {k: self._store.upsert("Things", v) for k, v in instances.things.items()}
        sensors = {k: self._store.upsert("Sensors", v) for k, v in instances.sensors.items()}
        datastreams = {k: self._datastream(v) for k, v in instances.datastreams.items()}
        return Registration(str(self._system), things, sensors, datastreams)

    def _datastream(self, instance: DatastreamInstance) -> Entity:
        observed = self._store.upsert("ObservedProperties", instance.observed_property)
        links = {"Thing": instance.thing, "Sensor": instance.sensor, "ObservedProperty": observed["name"]}
        upserted = self._store.upsert("Datastreams", {**instance.entity, **links})
        status = upserted["status"]
        if status == "unchanged" and observed["status"] != "unchanged":
            status = "changed"
        return {**(self._store.datastream(instance.name) or {}), "log_key": instance.name, "status": status}

    def _publish(self, registration: Registration) -> None:
        producer = self._store.log.producer(client_id="metadata")
        try:
            for entity in registration.datastreams.values():
                shown = {k: v for k, v in entity.items() if k != "status"}
                value = json.dumps(shown, ensure_ascii=False).encode()
                producer.send(OutRecord(self._system.topic("meta"), value, str(entity["name"]).encode()))
        finally:
            producer.close()

    def find(self, names: Sequence[str]) -> dict[str, Entity]:
        with self._store.lock:
            found = {name: self._store.datastream(name) for name in names}
        return {name: entity for name, entity in found.items() if entity is not None}

    def get(self, datastream_id: int) -> Entity | None:
        with self._store.lock:
            name = self._store.datastream_names().get(datastream_id)
            return None if name is None else self._store.datastream(name)

    def ping(self, timeout_s: float) -> None:
        self._store.log.ping(timeout_s)

    def close(self) -> None:
        close_store(self._store)


def make_topics(log: Log, system: SystemName) -> None:
    """The four topics of a system, as the platform makes them (binding: Topics)."""
    kept_ms = limits.RETENTION_MS_DEFAULT
    log.admin().create_topics(
        [
            TopicSpec(system.topic("int"), limits.PARTITIONS_DEFAULT, retention_ms=kept_ms),
            TopicSpec(system.topic("ext"), limits.PARTITIONS_DEFAULT, retention_ms=kept_ms),
            TopicSpec(system.topic("log"), 1, retention_ms=kept_ms),
            TopicSpec(system.topic("meta"), 1, cleanup="compact"),
        ]
    )
