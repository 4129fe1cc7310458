"""The warning that a condition can be TRUE for no Datastream of the catalogue, with what was perhaps meant."""

from __future__ import annotations

from collections.abc import Iterator

from twinstack.query.streamsql.catalogue import METADATA, Catalogue
from twinstack.query.streamsql.checked import (
    ColumnRef,
    Compare,
    Const,
    In,
    Term,
    Warning,
    columns_of,
    walk,
)
from twinstack.query.streamsql.fold import specialise
from twinstack.query.streamsql.names import closest
from twinstack.query.tokens import Source, Span


def missed_datastreams(where: Term, catalogue: Catalogue, source: Source) -> list[Warning]:
    """At most one warning `no_datastream`: the condition, with each Datastream's own columns put in, is never TRUE."""
    read = sorted(columns_of(where) & set(METADATA))
    if catalogue.is_empty or not read:
        return []
    tried: set[tuple[str, ...]] = set()
    for datastream in catalogue.datastreams:
        metadata = datastream.metadata()
        values = tuple(metadata[column] for column in read)
        if values in tried:
            continue
        tried.add(values)
        known = specialise(where, dict(zip(read, values, strict=True)))
        if not isinstance(known, Const) or known.value is True:
            return []
    span, fix = _hint(where, catalogue)
    line, column = source.place(span.start)
    return [Warning("no_datastream", "No Datastream of the sources can match.", line, column, source.caret(span), fix)]


def _hint(where: Term, catalogue: Catalogue) -> tuple[Span, str]:
    for column, text in _named(where):
        known = {datastream.metadata()[column] for datastream in catalogue.datastreams}
        if text.value in known:
            continue
        near = closest(str(text.value), known)
        if near:
            return text.span, f"Did you mean '{near}'?"
        return text.span, f"No Datastream has this {column.replace('_', ' ')}."
    return where.span, "Look at the names of the sources' Datastreams."


def _named(where: Term) -> Iterator[tuple[str, Const]]:
    """Each column of a Datastream with a text that it is compared with for equality."""
    for node in walk(where):
        pairs: list[tuple[Term, Term]] = []
        if isinstance(node, Compare) and node.op == "eq":
            pairs = [(node.left, node.right), (node.right, node.left)]
        elif isinstance(node, In):
            pairs = [(node.operand, item) for item in node.items]
        for column, text in pairs:
            if isinstance(column, ColumnRef) and column.name in METADATA and isinstance(text, Const):
                yield column.name, text
