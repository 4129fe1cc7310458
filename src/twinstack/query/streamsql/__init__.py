"""StreamSQL, the language of stream apps: `parse`, `check` and two evaluators of the condition.

    text -> lexer.py -> grammar.py (statement), expressions.py -> Query
         -> check.py (names.py, kinds.py, functions.py, fold.py, match.py) -> CheckedQuery (checked.py)
         -> row.py (one row), explain.py (each part of it) or columns.py (a batch: vectors.py, kernels.py, logic.py)

The reference of the language is docs/language.md; its examples are tests.
"""

from twinstack.query.streamsql.catalogue import RESULT_KINDS, Catalogue, CatalogueDatastream
from twinstack.query.streamsql.check import check
from twinstack.query.streamsql.checked import CheckedQuery, Warning
from twinstack.query.streamsql.columns import Condition, Values, compile_columns, compile_condition, compile_values
from twinstack.query.streamsql.explain import Explained, compile_explain
from twinstack.query.streamsql.grammar import parse
from twinstack.query.streamsql.row import RowCondition, compile_row
from twinstack.query.streamsql.statement import STAR, Query, SourceRef, Star
from twinstack.query.streamsql.vectors import Column, Columns

__all__ = [
    "RESULT_KINDS",
    "STAR",
    "Catalogue",
    "CatalogueDatastream",
    "CheckedQuery",
    "Column",
    "Columns",
    "Condition",
    "Explained",
    "Query",
    "RowCondition",
    "SourceRef",
    "Star",
    "Values",
    "Warning",
    "check",
    "compile_columns",
    "compile_condition",
    "compile_explain",
    "compile_row",
    "compile_values",
    "parse",
]
