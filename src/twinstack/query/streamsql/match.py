"""The warning that a condition can be TRUE for no Datastream of the catalogue, with what was perhaps meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import compress

import numpy as np

from twinstack.query.streamsql.batch import Batch
from twinstack.query.streamsql.catalogue import METADATA, Catalogue, CatalogueDatastream
from twinstack.query.streamsql.checked import (
    ColumnRef,
    Compare,
    Const,
    In,
    Logic,
    Not,
    Term,
    Warning,
    columns_of,
    walk,
)
from twinstack.query.streamsql.columns import compile_term
from twinstack.query.streamsql.kinds import NULL
from twinstack.query.streamsql.names import closest
from twinstack.query.streamsql.vectors import Column, Columns, Mask, truth
from twinstack.query.tokens import Source, Span


def missed_datastreams(where: Term, catalogue: Catalogue, source: Source) -> list[Warning]:
    """At most one warning `no_datastream`: by the Datastreams' own columns alone the condition is FALSE for each."""
    read = columns_of(where) & set(METADATA)
    if catalogue.is_empty or not read or _possible(where, catalogue, read).any():
        return []
    span, fix = _hint(where, catalogue)
    line, column = source.place(span.start)
    return [Warning("no_datastream", "No Datastream of the sources can match.", line, column, source.caret(span), fix)]


def matching(where: Term | None, catalogue: Catalogue) -> tuple[CatalogueDatastream, ...]:
    """The Datastreams whose records can pass the condition."""
    if where is None:
        return catalogue.datastreams
    possible = _possible(where, catalogue, columns_of(where) & set(METADATA))
    return tuple(compress(catalogue.datastreams, possible.tolist()))


def _possible(where: Term, catalogue: Catalogue, read: frozenset[str]) -> Mask:
    """The Datastreams for which the condition is not FALSE whatever their records hold."""
    columns = {name: Column([getattr(d, name) for d in catalogue.datastreams], None, "string") for name in read}
    batch = Batch(Columns(len(catalogue.datastreams), columns))
    values, valid = truth(compile_term(_unknown(where))(batch, None))
    possible = values if valid is None else values | ~valid
    return np.broadcast_to(possible, batch.n)


def _unknown(term: Term) -> Term:
    """The condition with NULL, which Kleene's logic reads as 'unknown', for each part that needs a record."""
    if columns_of(term) <= set(METADATA):
        return term
    if isinstance(term, Logic):
        return replace(term, operands=tuple(map(_unknown, term.operands)))
    if isinstance(term, Not):
        return replace(term, operand=_unknown(term.operand))
    return Const(NULL, term.span, None)


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
