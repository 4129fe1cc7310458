"""What the engine may hand in as a column, and the edges of arithmetic on arrays."""

from __future__ import annotations

import numpy as np
import pytest

from twinstack.query.streamsql import (
    Catalogue,
    Column,
    Columns,
    check,
    compile_columns,
    compile_row,
    kernels,
    logic,
    parse,
)

INT_MAX = 2**63 - 1


def passed(condition: str, n: int, **columns: Column) -> tuple[list[int], int]:
    """The numbers of the rows that pass, and the arithmetic NULLs."""
    checked = check(parse(f"SELECT * FROM * WHERE {condition}"), Catalogue())
    mask, counted = compile_columns(checked)(Columns(n, columns))
    assert mask.shape == (n,)
    assert mask.dtype == np.bool_
    return np.flatnonzero(mask).tolist(), counted


@pytest.mark.parametrize(
    "column",
    [
        Column([1.0, 5.0, None, 3.0]),
        Column([1, 5, None, 3]),
        Column([1, 5.0, "x", 3]),
        Column([1, 5.0, 10**400, 3], np.array([True, True, True, True])),
        Column([1, 2**64, {"a": 1}, 3.0]),
        Column(np.array([1.0, 5.0, np.nan, 3.0]), None, "float"),
        Column(np.array([1.0, 5.0, np.inf, 3.0]), np.array([True, True, True, True]), "float"),
        Column(np.array([1.0, 5.0, 0.0, 3.0], np.float32), np.array([True, True, False, True]), "float"),
        Column(np.array([1, 5, 0, 3], np.int32), np.array([True, True, False, True]), "int"),
        Column(np.array([1, 5, 0, 3]), np.array([True, True, False, True]), "float"),
        Column(np.array([1, 2**63 + 5, 2**64 - 1, 3], np.uint64), None, "int"),
        Column([1.0, 5.0, None, 3.0], None, "float"),
        Column([1, 5, None, 3], None, "int"),
        Column(np.array([1, 5.0, None, 3], object)),
        Column([1.0, 5.0, None, 3.0], None, "float", np.arange(4)),
    ],
)
def test_numbers(column: Column) -> None:
    assert passed("result < 4", 4, result=column) == ([0, 3], 0)
    assert passed("result * 2 < 8", 4, result=column)[0] == [0, 3]


@pytest.mark.parametrize(
    "column",
    [
        Column(["a", "b", None, "a"]),
        Column(["a", "b", None, "a"], None, "string"),
        Column(["a", "b", "a", "a"], np.array([True, True, False, True]), "string"),
        Column(np.array(["a", "b", "c", "a"]), None, "string"),
        Column(np.array(["a", "b", None, "a"], object), None, "string"),
        Column(["a", "b", None], None, "string", np.array([0, 1, 2, 0])),
        Column(["x", "a", None, "b", "y", "z"], None, "string", np.array([1, 3, 2, 1])),
        Column(["a", 3, None], None, "any", np.array([0, 1, 2, 0], np.uint8)),
    ],
)
def test_texts(column: Column) -> None:
    assert passed("name = 'a'", 4, name=column) == ([0, 3], 0)
    assert passed("name LIKE 'a%'", 4, name=column) == ([0, 3], 0)
    assert passed("name IN ('a', 'q')", 4, name=column) == ([0, 3], 0)
    assert passed("name < 'b' AND LENGTH(name) = 1", 4, name=column) == ([0, 3], 0)


def test_times_truths_and_missing_columns() -> None:
    times = np.array([0, 1_795_521_600_000_000])
    assert passed("time > '2020-01-01' AND YEAR(time) = 2026", 2, time=Column(times, None, "time")) == ([1], 0)
    assert passed("time > '2020-01-01'", 2, time=Column([None, int(times[1])], None, "time")) == ([1], 0)
    assert passed("result", 3, result=Column([True, False, 1])) == ([0], 0)
    assert passed("result = TRUE", 2, result=Column(np.array([True, False]), None, "bool")) == ([0], 0)
    assert passed("result < 4 OR result >= 4", 3) == ([], 0)
    assert passed("result IS NULL", 3) == ([0, 1, 2], 0)
    assert passed("1 = 1", 3) == ([0, 1, 2], 0)
    assert passed("result < 4", 0, result=Column([])) == ([], 0)
    assert passed("result < 4", 0, result=Column(np.array([], float), None, "float")) == ([], 0)


def test_an_entry_of_a_dictionary_counts_for_each_of_its_rows() -> None:
    names = Column(["", "ab"], None, "string", np.array([0, 0, 1, 0, 1]))
    assert passed("1 / LENGTH(name) > 0", 5, name=names) == ([2, 4], 3)
    results = Column([0.0, 9.0, 9.0, 0.0, 0.0])
    assert passed("result > 1 AND 1 / LENGTH(name) > 0", 5, name=names, result=results) == ([2], 1)


def test_what_reads_one_dictionary_runs_once_for_each_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def spy(op: str, kinds: tuple[str, str], a: np.ndarray, b: np.ndarray, valid: object) -> np.ndarray:
        sizes.append(max(a.size, b.size))
        return kernels.compare(op, kinds, a, b, valid)

    monkeypatch.setattr(logic, "compare", spy)
    codes = np.tile([0, 1], 500)
    shared = {
        "name": Column(["a", "b"], None, "string", codes),
        "unit": Column(["m", "s"], None, "string", codes),
        "thing": Column(["x", "y", "z"], None, "string", codes.copy()),
    }
    assert len(passed("name = 'a' AND unit = 'm'", 1000, **shared)[0]) == 500
    assert sizes == [2, 2]
    sizes.clear()
    assert passed("name = thing", 1000, **shared) == ([], 0)
    assert sizes == [1000]


@pytest.mark.parametrize(
    ("condition", "values", "rows", "counted"),
    [
        ("result + 1 > 0", [INT_MAX, INT_MAX - 1, -1], [1], 1),
        ("result - 1 < 0", [-INT_MAX - 1, -INT_MAX, 1], [1], 1),
        ("result * 2 <> 0", [2**62, 2**62 - 1, -(2**62), -(2**62) - 1], [1, 2], 2),
        ("result * -1 <> 0", [-INT_MAX - 1, INT_MAX], [1], 1),
        ("-result <> 0", [-INT_MAX - 1, INT_MAX], [1], 1),
        ("ABS(result) > 0", [-INT_MAX - 1, -INT_MAX], [1], 1),
        ("result % 0 = 0 OR result % -1 = 0", [-INT_MAX - 1, 5], [0, 1], 2),
        ("result % 3 = 2", [-1, 2, 5, -4], [0, 1, 2, 3], 0),
        ("result = 9007199254740992.0", [2**53, 2**53 + 1, 2**53 - 1], [0], 0),
        ("result > 9007199254740992.0", [2**53, 2**53 + 1, 2**53 - 1], [1], 0),
        ("result < 9223372036854775808", [INT_MAX, -1], [0, 1], 0),
        ("1 / result > 0", [0, 1, -1], [1], 1),
        ("result <> 0 AND 1 / result > 0", [0, 1, -1], [1], 0),
        ("result = 0 OR 1 / result > 0", [0, 1, -1], [0, 1], 0),
        ("CASE WHEN result = 0 THEN 0 ELSE 1 / result END < 1", [0, 1, -1], [0, 2], 0),
        ("COALESCE(result, 1 / result) >= 0", [0, 1, None], [0, 1], 0),
        ("COALESCE(1 / result, -1) < 0", [0, 1, -1], [0, 2], 1),
        ("SQRT(result) >= 0", [4, -1, 0.0, -4.0], [0, 2], 2),
        ("result ^ 0.5 >= 0", [4, -1, 0.0, -4.0], [0, 2], 2),
        ("result ^ 1000 > 0", [10, 1, 0.5], [1, 2], 1),
        ("result * 1e300 > 0", [1e300, 1.0], [1], 1),
        ("CAST(result AS INT) > 0", [1e30, 5.5, "7", "x", True], [1, 2, 4], 1),
        ("ROUND(result, 1) = 2.3", [2.25, 2.349, 2.35], [0, 1], 0),
    ],
)
def test_arithmetic(condition: str, values: list[object], rows: list[int], counted: int) -> None:
    assert passed(condition, len(values), result=Column(values)) == (rows, counted)
    row = compile_row(check(parse(f"SELECT * FROM * WHERE {condition}"), Catalogue()))
    assert [i for i, value in enumerate(values) if row({"result": value}) is True] == rows
    assert row.arithmetic == counted
