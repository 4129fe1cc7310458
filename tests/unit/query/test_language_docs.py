"""docs/language.md says what is so: each query, value and error on the page is run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from twinstack.core.errors import QueryError
from twinstack.query.streamsql import Catalogue, CatalogueDatastream, check, parse
from twinstack.query.streamsql.checked import Compare, Const
from twinstack.query.streamsql.functions import AGGREGATES, CALLABLE, LATER

PAGE = (Path(__file__).parents[3] / "docs" / "language.md").read_text(encoding="utf-8")
CATALOGUE = Catalogue(
    (CatalogueDatastream(name="a", unit="m", result_kind="float", attributes={"oil temp": "float", "speed": "float"}),)
)
QUERIES = [q for block in re.findall(r"```streamsql\n(.*?)```", PAGE, re.DOTALL) for q in block.strip().split("\n")]
ROWS = re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", PAGE, re.MULTILINE)
ERRORS = re.findall(r"```error\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("query", QUERIES)
def test_queries(query: str) -> None:
    check(parse(query), CATALOGUE)


@pytest.mark.parametrize(("expression", "value"), ROWS)
def test_values(expression: str, value: str) -> None:
    assert shown(expression) == value


def shown(expression: str) -> str:
    """The value of a constant expression as a literal of the language."""
    where = check(parse(f"SELECT * FROM * WHERE parameters.x = ({expression})"), Catalogue()).where
    if isinstance(where, Const):
        return "NULL"
    assert isinstance(where, Compare)
    assert isinstance(where.right, Const)
    value = where.right.value
    if isinstance(value, bool):
        return str(value).upper()
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


@pytest.mark.parametrize("error", ERRORS)
def test_errors(error: str) -> None:
    query = error.split("\n", 1)[0]
    with pytest.raises(QueryError) as caught:
        check(parse(query), CATALOGUE)
    assert f"{caught.value.caret}\n{caught.value.message}\n{caught.value.fix}\n" == error


def test_the_page_is_complete() -> None:
    assert (len(QUERIES) >= 6, len(ROWS) >= 90, len(ERRORS) >= 4) == (True, True, True)
    for name in CALLABLE:
        assert f"`{name}" in PAGE, f"{name} is missing"
    for name in (*AGGREGATES, *LATER, "DISTANCE", "PREV", "DELTA", "RATE"):
        assert f"`{name}" in PAGE, f"{name} is missing"
