"""What is known before a row is read: constants folded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twinstack.query.streamsql.checked import (
    Apply,
    Case,
    ColumnRef,
    Compare,
    Const,
    Logic,
    Not,
    Term,
    parts,
)
from twinstack.query.streamsql.kinds import BOOLS, NULL, TIMES, Kinds, kind_of, normal, of
from twinstack.query.streamsql.row import compile_term
from twinstack.query.tokens import Span


def constant(value: Any, span: Span, kinds: Kinds | None = None) -> Const:
    """A constant; microseconds need the kinds {time}, any other value has the kind that it shows."""
    value = normal(value)
    kind = kind_of(value)
    if kinds == TIMES and value is not None:
        return Const(TIMES, span, value)
    return Const(NULL if kind is None else of(kind), span, value)


def fold(term: Term, count: Callable[[], None] = lambda: None) -> Term:
    """The term with its parts (which are folded already) put together as far as they are known.

    `count` is called for each NULL that arithmetic made of constants alone.
    """
    match term:
        case Const() | ColumnRef():
            return term
        case Logic():
            return _fold_logic(term)
        case Not(operand=Not(operand=inner)) if inner.kinds <= BOOLS:
            return inner
        case Case(operand=None):
            return _fold_case(term)
        case Compare() | Apply() if any(isinstance(part, Const) and part.value is None for part in parts(term)):
            return constant(None, term.span)
    if all(isinstance(part, Const) for part in parts(term)):
        return constant(compile_term(term, count)({}), term.span, term.kinds)
    return term


def _fold_logic(term: Logic) -> Term:
    known = [operand.value for operand in term.operands if isinstance(operand, Const)]
    if len(known) == len(term.operands):
        return constant(compile_term(term, lambda: None)({}), term.span)
    if term.op == "xor":
        return constant(None, term.span) if None in known else term
    absorbing = term.op == "or"
    if any(value is absorbing for value in known):
        return constant(absorbing, term.span)
    rest = tuple(o for o in term.operands if not (isinstance(o, Const) and o.value is (not absorbing)))
    # A bare `result` is no condition by its kind: AND makes NULL of a number, so the operator stays around it.
    if len(rest) == 1 and rest[0].kinds <= BOOLS:
        return rest[0]
    return replace(term, operands=rest)


def _fold_case(term: Case) -> Term:
    whens: list[tuple[Term, Term]] = []
    default = term.default
    for test, value in term.whens:
        if isinstance(test, Const):
            if test.value is not True:
                continue
            default = value
            break
        whens.append((test, value))
    return replace(term, whens=tuple(whens), default=default) if whens else default
