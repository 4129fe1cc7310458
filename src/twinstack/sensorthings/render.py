"""Answers as text: a template per set and `$select`, filled column by column.

A page's rows are turned into columns, each column into JSON texts by one `map`, and each row is one `%` of the
template: no call per value that is printed as it is, and no object tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twinstack.sensorthings.fields import Field
from twinstack.sensorthings.model import EntityType
from twinstack.sensorthings.store.values import MULTI
from twinstack.sensorthings.versions import ApiVersion

Row = tuple[Any, ...]
_TEMPLATES_MAX = 16
STREAMS = ("Datastream", "MultiDatastream")
"""Links of an Observation, of which it has one."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One `%s` of a template: the columns it is made of; without `encode` the value prints itself."""

    indexes: tuple[int, ...]
    encode: Callable[..., str] | None = None


_ID = Slot((0,))


@dataclass(slots=True)
class Template:
    """The JSON of one entity. Column 0 of a row is the id; texts of expanded links follow the slots."""

    slots: tuple[Slot, ...]
    pieces: tuple[str, ...]
    _by_base: dict[str, str] = field(default_factory=dict)

    def texts(self, rows: Sequence[Row], base: str, expanded: Sequence[Iterable[str]] = ()) -> list[str]:
        """The JSON of each row; `expanded` holds for each expanded link a text per row."""
        if not rows:
            return []
        columns = tuple(zip(*rows, strict=True))
        values: list[Iterable[Any]] = []
        for slot in self.slots:
            sources = [columns[index] for index in slot.indexes]
            values.append(sources[0] if slot.encode is None else map(slot.encode, *sources))
        text = self._text(base)
        return [text % one for one in zip(*values, *expanded, strict=True)]

    def _text(self, base: str) -> str:
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
    kind: int | None = None,
) -> Template:
    """`fields` with the indexes of their columns; `expanded`: how many texts of expanded links follow.
    `kind` is the column that tells whether an Observation has a Datastream or a MultiDatastream: it shows that link.

    NUL stands for the base address: it occurs in no name.
    """
    slots: list[Slot] = []
    pieces: list[str] = []
    address = f"\0/{entity.set_name}(%s)"

    def add(piece: str, *slots_of_piece: Slot) -> None:
        pieces.append(f"{',' if pieces else ''}{piece}")
        slots.extend(slots_of_piece)

    if select is None or version.id in select:
        add(f'"{version.id}":%s', _ID)
    if select is None or version.self_link in select:
        add(f'"{version.self_link}":"{address}"', _ID)
    for one, indexes in fields:
        if not one.optional:
            add(f'"{one.name}":%s', Slot(tuple(indexes), one.encode))
    optional = [(one, indexes[0]) for one, indexes in fields if one.optional]
    if optional:
        pieces.append("%s")
        slots.append(_optional(optional))
    shown = [link.name for link in entity.links_of(version.version) if select is None or link.name in select]
    if kind is not None:
        multi = Slot((kind,), _multi)
        add(f'"%sDatastream{version.navigation_link}":"{address}/%sDatastream"', multi, _ID, multi)
        shown = [name for name in shown if name not in STREAMS]
    for name in shown:
        add(f'"{name}{version.navigation_link}":"{address}/{name}"', _ID)
    for _ in range(expanded):
        add("%s")
    return Template(tuple(slots), ("{", *pieces, "}"))


def _multi(kind: str | None) -> str:
    return "Multi" if kind == MULTI else ""


def _optional(fields: Sequence[tuple[Field, int]]) -> Slot:
    """Optional properties, each with its comma, or nothing when it is null. All are members of one JSON column, which
    is null in nearly every row."""
    [index] = {index for _, index in fields}

    def encode(column: str | None) -> str:
        if column is None:
            return ""
        texts = [(one.name, one.encode(column)) for one, _ in fields]
        return "".join([f',"{name}":{text}' for name, text in texts if text != "null"])

    return Slot((index,), encode)
