"""What an entity type is made of: properties, links and how both lie in the tables. `model` says which types there
are, `staplus` those of the extension."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Literal

Version = Literal["1.0", "1.1"]


class PropertyType(StrEnum):
    TEXT = "text"
    JSON = "json"
    """Any JSON value, kept as sent."""
    INSTANT = "instant"
    """One bigint column of microseconds since 1970 UTC."""
    INTERVAL = "interval"
    """`column` is the start; `end_column` is null for an instant."""
    RESULT = "result"
    """Columns `result`, `kind` and, for JSON and huge integers, `extra.result` (see `store.values`)."""
    EXTRA = "extra"
    """A member of an Observation's JSON column `extra`."""
    EXTRA_INTERVAL = "extra_interval"
    """A member of `extra`: `[start_us, end_us or null]`."""


@dataclass(frozen=True, slots=True)
class Property:
    """One property of an entity. `mandatory`: a POST without it is refused; `since` is the version that has it."""

    name: str
    column: str
    type: PropertyType = PropertyType.TEXT
    mandatory: bool = False
    since: Version = "1.0"
    end_column: str | None = None
    table: str | None = None
    """Where the column is, when not in the entity's own table (joined by `datastream_id`)."""
    computed: bool = False
    """Made by the server: what a client sends is ignored."""
    given: bool = False
    """The server gives a value where a POST has none, so it is never null."""
    values: frozenset[str] = frozenset()
    """The texts it may have; empty: any."""
    default: str | None = None
    """What a new entity gets that does not name it, and the only value it may have."""


@dataclass(frozen=True, slots=True)
class ByColumn:
    """`own.column = target.id`."""

    column: str


@dataclass(frozen=True, slots=True)
class ByTarget:
    """`target.column = own.id`."""

    column: str


@dataclass(frozen=True, slots=True)
class ByTable:
    """A row of `table` pairs both: `table.own = own.id AND table.target = target.id`."""

    table: str
    own: str
    target: str


Join = ByColumn | ByTarget | ByTable


@dataclass(frozen=True, slots=True)
class Link:
    """A navigation link. `name` is its JSON name, `target` the name of the entity type it leads to."""

    name: str
    target: str
    many: bool
    join: Join
    mandatory: bool = False
    since: Version = "1.0"
    back: str | None = None
    """The target's link that leads back, where several lead to the same type."""


@dataclass(frozen=True)
class EntityType:
    name: str
    set_name: str
    table: str
    properties: tuple[Property, ...]
    links: tuple[Link, ...]
    where: tuple[tuple[str, int], ...] = ()
    """Fixed column values that tell the types of one table apart (Datastream, MultiDatastream)."""
    since: Version = "1.0"

    @cached_property
    def _properties(self) -> dict[str, Property]:
        return {p.name: p for p in self.properties}

    @cached_property
    def _links(self) -> dict[str, Link]:
        return {link.name: link for link in self.links}

    def property(self, name: str) -> Property | None:
        return self._properties.get(name)

    def link(self, name: str, version: Version = "1.1") -> Link | None:
        link = self._links.get(name)
        return None if link is None or link.since > version else link

    def properties_of(self, version: Version) -> tuple[Property, ...]:
        return tuple(p for p in self.properties if p.since <= version)

    def links_of(self, version: Version) -> tuple[Link, ...]:
        return tuple(link for link in self.links if link.since <= version)

    def names_of(self, version: Version) -> str:
        """Its properties and links, for messages."""
        return ", ".join([p.name for p in self.properties_of(version)] + [k.name for k in self.links_of(version)])

    def __hash__(self) -> int:
        return hash(self.name)


def text(name: str, column: str | None = None, *, mandatory: bool = True) -> Property:
    return Property(name, column or name, mandatory=mandatory)
