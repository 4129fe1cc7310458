"""The truths, values and errors of the original system's language."""

import pytest

from twinstack.core.errors import QueryError
from twinstack.query.streamsql import Catalogue, CatalogueDatastream, check, compile_row, parse

STATION = "Station_1.Air Temperature"
CATALOGUES = (Catalogue(), Catalogue((CatalogueDatastream(name=STATION, result_kind="float"),)))
ROW = {"name": STATION, "result": 12.3}

TRUE = [
    "(result < 30 AND result < 4) OR name = 'Station_1.Air Temperature'",
    "result = 0 XOR name = 'Station_1.Air Temperature'",
    "NOT NOT (result < 30 AND NOT NOT name = 'Station_1.Air Temperature')",
    "result > 30 AND result > 4 XOR name = 'Station_1.Air Temperature'",
    "result < 3*10 AND result > 4-1",
    "100 > result AND result > 0.4^10",
    "(result - 12.3)^2 = 0",
    "(name = 'tricky>AND<for_=_name' XOR result < 30) AND result > 4",
]
FALSE = [
    "result > 0 XOR name = 'Station_1.Air Temperature'",
    "'trickyn=ame' = name",
    "result < 100 % 13 AND result > 0.4^10",
]
ERRORS = [
    "bad_Name = 'x'",
    "result ~ 30",
    "result = 30asdf",
    "name = 'stranger's name'",
    "(result < 30)))) AND result > 4)",
    "6 = 'another beer'",
]


def outcome(condition: str, catalogue: Catalogue) -> object:
    return compile_row(check(parse(f"SELECT * FROM * WHERE {condition};"), catalogue))(ROW)


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=["unknown", "known"])
@pytest.mark.parametrize(("condition", "expected"), [(t, True) for t in TRUE] + [(t, False) for t in FALSE])
def test_truths(condition: str, expected: bool, catalogue: Catalogue) -> None:
    assert outcome(condition, catalogue) is expected


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=["unknown", "known"])
@pytest.mark.parametrize("condition", ERRORS)
def test_errors(condition: str, catalogue: Catalogue) -> None:
    with pytest.raises(QueryError):
        outcome(condition, catalogue)


@pytest.mark.parametrize(("value", "expected"), [("2*3-1*100", -94), ("2*(3-1)^4", 32), ("100 % 13", 9)])
def test_values(value: str, expected: int) -> None:
    assert outcome(f"{value} = {expected}", Catalogue()) is True
    assert outcome(f"result = {value}", Catalogue()) is False
    assert compile_row(check(parse(f"SELECT * FROM * WHERE result = {value}"), Catalogue()))({"result": expected})
