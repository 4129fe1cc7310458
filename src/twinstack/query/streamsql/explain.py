"""Why a row passes or not: the value of each sub-expression of the condition, for dry runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twinstack.query.streamsql.checked import CheckedQuery, Const, Term, walk
from twinstack.query.streamsql.kinds import TIMES
from twinstack.query.streamsql.row import Row, compile_term
from twinstack.query.streamsql.scalars import time_text


@dataclass(frozen=True, slots=True)
class Explained:
    """`text` as it stands in the query, and its value in the row; a time as ISO 8601."""

    text: str
    value: Any


def compile_explain(checked: CheckedQuery) -> Callable[[Row], tuple[Explained, ...]]:
    """A function of a row that gives each sub-expression once, the whole condition first; constants are left out."""
    source = checked.query.source
    terms: dict[str, Term] = {}
    for term in walk(checked.where) if checked.where is not None else ():
        text = source.slice(term.span)
        if not isinstance(term, Const) and text not in terms:
            terms[text] = term
    compiled = [(text, compile_term(term, _ignore), term.kinds == TIMES) for text, term in terms.items()]

    def explain(row: Row) -> tuple[Explained, ...]:
        return tuple(Explained(text, _shown(evaluate(row), is_time)) for text, evaluate, is_time in compiled)

    return explain


def _ignore() -> None:
    """Explaining counts no arithmetic."""


def _shown(value: Any, is_time: bool) -> Any:
    return time_text(value) if is_time and value is not None else value
