"""Three readings of one expression: on a row, on columns, and by DuckDB."""

from __future__ import annotations

import math

import duckdb
import numpy as np
import pytest
from random_expressions import Generator, Written, rows

from twinstack.query.streamsql import Catalogue, CatalogueDatastream, Column, Columns, check, compile_columns, parse
from twinstack.query.streamsql.batch import Batch
from twinstack.query.streamsql.checked import Apply, Term, walk
from twinstack.query.streamsql.columns import compile_term
from twinstack.query.streamsql.row import RowCondition
from twinstack.query.streamsql.row import compile_term as compile_row_term
from twinstack.query.streamsql.vectors import to_items

ATTRIBUTES = {"n": "int", "x": "float", "label": "string", "flag": "bool"}
CATALOGUE = Catalogue((CatalogueDatastream(name="a", result_kind="any", attributes=ATTRIBUTES),))
ROWS = rows(7, 24)
KINDS = {"n": "int", "x": "float", "latitude": "float", "label": "string", "flag": "bool", "time": "time"}
EXPRESSIONS = 1_500
"""Of each kind, beside the 10,000 that DuckDB judges too; `mixed` ones mean nothing to DuckDB."""


def columns(batch: list[dict[str, object]], *, encoded: bool) -> Columns:
    """The rows as the engine hands them in: typed arrays with masks, or lists; `name` with or without a dictionary."""
    made: dict[str, Column] = {}
    for name in batch[0]:
        values = [row[name] for row in batch]
        kind = KINDS.get(name, "any")
        if encoded and kind in ("int", "float", "time", "bool"):
            valid = np.array([value is not None for value in values])
            known = next(value for value in values if value is not None)
            filled = np.array([value if value is not None else type(known)() for value in values])
            made[name] = Column(filled, valid, kind)
        else:
            made[name] = Column(values, None, kind)
    if encoded:
        for name in ("name", "label"):
            entries = sorted({row[name] for row in batch}, key=str)
            codes = np.array([entries.index(row[name]) for row in batch])
            made[name] = Column(entries, None, "string", codes)
    return Columns(len(batch), made)


BATCHES = [columns(ROWS, encoded=False), columns(ROWS, encoded=True)]


def where(text: str) -> Term:
    """The checked tree of any expression: of a condition as it is, of a value by way of IS NULL."""
    checked = check(parse(f"SELECT * FROM * WHERE {text}"), CATALOGUE)
    assert checked.where is not None
    return checked.where


def same(a: object, b: object) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and isinstance(b, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return a == b


def by_row(term: Term) -> tuple[list[object], int]:
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1

    evaluate = compile_row_term(term, count)
    return [evaluate(row) for row in ROWS], counted


def by_columns(term: Term, batch: Columns) -> tuple[list[object], int]:
    state = Batch(batch)
    with np.errstate(all="ignore"):
        vector = compile_term(term)(state, None)
    return list(to_items(vector, batch.n)), state.arithmetic


def assert_equal(text: str, term: Term) -> list[object]:
    expected, counted = by_row(term)
    for batch in BATCHES:
        found, found_count = by_columns(term, batch)
        for row, a, b in zip(ROWS, expected, found, strict=True):
            assert same(a, b) or isinstance(a, list | dict), (text, row, a, b)
        assert found_count == counted, text
    return expected


@pytest.mark.parametrize("mixed", [False, True], ids=["typed", "mixed"])
def test_row_and_columns_agree(mixed: bool) -> None:
    generator = Generator(11, mixed=mixed)
    for number in range(EXPRESSIONS):
        text = generator.expression("bool", 4).text
        term = where(text)
        assert_equal(text, term)
        # Values inside the condition, not only its outcome: their kinds, signs of zero and counts.
        for part in walk(term):
            if number % 8 == 0 and isinstance(part, Apply):
                assert_equal(text, part)


def test_the_condition_passes_what_the_row_passes() -> None:
    generator = Generator(13, mixed=True)
    for _ in range(500):
        text = generator.expression("bool", 3).text
        checked = check(parse(f"SELECT * FROM * WHERE {text}"), CATALOGUE)
        condition = RowCondition(checked.where)
        expected = [condition(row) is True for row in ROWS]
        for batch in BATCHES:
            mask, counted = compile_columns(checked)(batch)
            assert mask.dtype == np.bool_
            assert mask.tolist() == expected, text
            assert counted == condition.arithmetic, text


@pytest.fixture(scope="module")
def duck() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads = 1; SET TimeZone = 'UTC'")
    connection.execute(
        "CREATE TABLE t (i INTEGER, n BIGINT, big BIGINT, x DOUBLE, latitude DOUBLE, name VARCHAR, label VARCHAR,"
        " flag BOOLEAN, tm TIMESTAMPTZ)"
    )
    connection.execute("CREATE MACRO fin(v) AS CASE WHEN isfinite(v) THEN v END")
    for name in ("imod", "fmod"):
        connection.execute(
            f"CREATE MACRO {name}(a, b) AS CASE WHEN b = 0 THEN NULL WHEN (a % b) <> 0 AND ((a % b) < 0) <> (b < 0)"
            " THEN (a % b) + b ELSE a % b END"
        )
    names = ("n", "parameters.big", "x", "latitude", "name", "label", "flag", "time")
    connection.executemany(
        "INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?, make_timestamptz(?))",
        [[i, *(row[name] for name in names)] for i, row in enumerate(ROWS)],
    )
    return connection


def test_both_evaluators_agree_with_duckdb(duck: duckdb.DuckDBPyConnection) -> None:
    compare_with_duckdb(duck, seed=17, expressions=10_000)


def compare_with_duckdb(duck: duckdb.DuckDBPyConnection, *, seed: int, expressions: int) -> None:
    generator = Generator(seed)
    chunk = 100
    for _ in range(expressions // chunk):
        written = [generator.expression("bool", 3) for _ in range(chunk)]
        listed = ", ".join(w.duck for w in written)
        answers = zip(*duck.execute(f"SELECT {listed} FROM t ORDER BY i").fetchall(), strict=True)
        for one, answer in zip(written, answers, strict=True):
            assert_answers(one, answer)


def assert_answers(one: Written, answer: tuple[object, ...]) -> None:
    term = where(one.text)
    expected, _ = by_row(term)
    found, _ = by_columns(term, BATCHES[1])
    for row, duck_value, a, b in zip(ROWS, answer, expected, found, strict=True):
        assert a is b is duck_value, (one.text, one.duck, row, duck_value, a, b)
