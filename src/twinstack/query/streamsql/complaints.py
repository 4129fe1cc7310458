"""Errors of `check` that need a thought about what was meant."""

from __future__ import annotations

from twinstack.core.errors import QueryError
from twinstack.query import tree
from twinstack.query.streamsql.catalogue import Catalogue
from twinstack.query.streamsql.checked import Const, Term
from twinstack.query.streamsql.kinds import NUMBER, STRING, words
from twinstack.query.streamsql.scalars import cast_float
from twinstack.query.streamsql.units import in_unit
from twinstack.query.tokens import Source
from twinstack.query.tree import Expr

Side = tuple[Expr, Term]
"""One side of a comparison, as written and as checked."""


def never_compare(source: Source, operator: str, left: Side, right: Side) -> QueryError:
    """Two sides without a kind that meets: a number in quotes, a text without, or a real mistake."""
    fix = ""
    for (node, term), (_, other) in ((left, right), (right, left)):
        if isinstance(term, Const) and isinstance(term.value, str) and other.kinds & NUMBER:
            bare = cast_float(term.value) is not None
            fix = f"Write {term.value.strip()} without quotes." if bare else "Compare it with a number."
        elif isinstance(term, Const) and term.kinds <= NUMBER and STRING in other.kinds:
            fix = f"Write '{source.slice(node.span)}' in single quotes."
    shown = [f"{source.slice(node.span)[:60]}, {words(term.kinds)}" for node, term in (left, right)]
    return source.error(
        f"{operator} cannot compare {shown[0]}, with {shown[1]}.",
        right[0].span,
        expected=words(left[1].kinds),
        fix=fix or "Compare values of one type, or use CAST.",
    )


def quantity(source: Source, catalogue: Catalogue, node: tree.Literal) -> QueryError:
    """`3 km` for a Datastream in metres: write 3000."""
    assert isinstance(node.value, int | float)
    units = {datastream.unit for datastream in catalogue.datastreams}
    converted = in_unit(node.value, node.unit, *units) if len(units) == 1 else None
    value = node.value if converted is None else converted
    number = int(value) if value == int(value) else value
    unit = f", the Datastream's unit '{next(iter(units))}' is meant" if len(units) == 1 else ""
    return source.error(
        f"A number has no unit: '{source.slice(node.span)[:60]}'.",
        node.span,
        expected="a number",
        fix=f"Write {number}{unit}.",
    )
