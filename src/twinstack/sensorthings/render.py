"""Answers as text: a template per set and `$select`, filled with one `%` for each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twinstack.sensorthings.fields import Field
from twinstack.sensorthings.model import EntityType
from twinstack.sensorthings.versions import ApiVersion

Row = tuple[Any, ...]
Getter = Callable[[Row], str]
_TEMPLATES_MAX = 16


def getter(encode: Callable[..., str], indexes: Sequence[int]) -> Getter:
    """A function from a row to the JSON text of one property."""
    if len(indexes) == 1:
        i = indexes[0]
        return lambda row: encode(row[i])
    if len(indexes) == 2:
        i, j = indexes
        return lambda row: encode(row[i], row[j])
    if len(indexes) == 3:
        i, j, k = indexes
        return lambda row: encode(row[i], row[j], row[k])
    return lambda row: encode(*(row[n] for n in indexes))


@dataclass(slots=True)
class Template:
    """The JSON of one entity. Column 0 of a row is the id; `expanded` texts follow the properties."""

    entity: EntityType
    version: ApiVersion
    getters: tuple[Getter, ...]
    pieces: tuple[str, ...]
    _by_base: dict[str, str] = field(default_factory=dict)

    def filled(self, row: Row, base: str, expanded: tuple[str, ...] = ()) -> str:
        return self.text(base) % (*[get(row) for get in self.getters], *expanded)

    def text(self, base: str) -> str:
        """The template with the base address in place; few addresses lead to one server."""
        known = self._by_base.get(base)
        if known is None:
            if len(self._by_base) >= _TEMPLATES_MAX:
                self._by_base.clear()
            known = self._by_base[base] = "".join(self.pieces).replace("\0", base.replace("%", "%%"))
        return known


def template(
    entity: EntityType,
    version: ApiVersion,
    fields: Sequence[tuple[Field, Sequence[int]]],
    select: tuple[str, ...] | None,
    expanded: int,
) -> Template:
    """`fields` with the indexes of their columns; `expanded`: how many texts of expanded links follow.

    NUL stands for the base address: it occurs in no name.
    """
    getters: list[Getter] = []
    pieces: list[str] = []
    address = f"\0/{entity.set_name}(%s)"

    def add(piece: str, *getters_of_piece: Getter) -> None:
        pieces.append(f"{',' if pieces else ''}{piece}")
        getters.extend(getters_of_piece)

    if select is None or version.id in select:
        add(f'"{version.id}":%s', _id)
    if select is None or version.self_link in select:
        add(f'"{version.self_link}":"{address}"', _id)
    for one, indexes in fields:
        if one.optional:
            pieces.append("%s")
            getters.append(_left_out(one, getter(one.encode, indexes)))
        else:
            add(f'"{one.name}":%s', getter(one.encode, indexes))
    for link in entity.links:
        if select is None or link.name in select:
            add(f'"{link.name}{version.navigation_link}":"{address}/{link.name}"', _id)
    for _ in range(expanded):
        add("%s")
    return Template(entity, version, tuple(getters), ("{", *pieces, "}"))


def _id(row: Row) -> str:
    return str(row[0])


def _left_out(one: Field, get: Getter) -> Getter:
    """An optional property with its comma, or nothing when it is null."""

    def encode(row: Row) -> str:
        value = get(row)
        return "" if value == "null" else f',"{one.name}":{value}'

    return encode
