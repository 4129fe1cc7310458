"""Projections, joins and windows: what check makes of them, and what it refuses."""

from __future__ import annotations

import pytest

from twinstack.core.errors import QueryError
from twinstack.query.streamsql import Catalogue, CatalogueDatastream, Column, Columns, check, compile_values, parse
from twinstack.query.streamsql.checked import ELAPSED_S, PREVIOUS, CheckedQuery, ColumnRef
from twinstack.query.streamsql.row import compile_term


def datastream(thing: str, kind: str, unit: str, **more: str) -> CatalogueDatastream:
    name = f"{thing}.{kind}"
    told = {"full_name": f"is.iceland.weather.Stations.{name}", "observed_property": kind, "result_kind": "float"}
    return CatalogueDatastream(
        name=name, thing=thing, datastream=kind, unit=unit, attributes={"speed": "float"}, **{**told, **more}
    )


CATALOGUE = Catalogue(
    (
        datastream("Station_1", "Air Temperature", "degC"),
        datastream("Station_2", "Air Temperature", "degC"),
        datastream("Station_1", "Wind", "m/s"),
        datastream("Station_1", "Weather", "", result_kind="string"),
    )
)
TEMPERATURE = "FILTER (datastream = 'Air Temperature')"


def checked(text: str) -> CheckedQuery:
    return check(parse(text), CATALOGUE)


def failure(text: str) -> QueryError:
    with pytest.raises(QueryError) as caught:
        checked(text)
    return caught.value


@pytest.mark.parametrize(
    ("items", "result", "parameters", "unit"),
    [
        ("result", "result", [], "degC"),
        ("result AS celsius", "celsius", [], "degC"),
        ("result * 2 AS result, speed", "result", ["speed"], None),
        ("result * 2 AS result UNIT 'K', result AS celsius", "result", ["celsius"], "K"),
        ("name, longitude, latitude, time, speed * 3 AS s", "s", ["name", "longitude", "latitude", "time"], None),
        ("DELTA(result)", "", [], "degC"),
        ("RATE(result) AS r, time", "r", ["time"], "degC/s"),
        ("PREV(result) AS result, result AS now", "result", ["now"], "degC"),
        ("result UNIT 'degC'", "result", [], "degC"),
    ],
)
def test_what_comes_out_of_a_projection(items: str, result: str, parameters: list[str], unit: str | None) -> None:
    output = checked(f"SELECT {items} FROM * {TEMPERATURE}").output
    assert output is not None
    assert (output.result.name, output.result.unit) == (result, unit)
    assert [p.name for p in output.parameters] == parameters


def test_a_unit_needs_all_inputs_to_have_it() -> None:
    output = checked("SELECT result FROM * WHERE thing = 'Station_1'").output
    assert output is not None
    assert output.result.unit is None


@pytest.mark.parametrize(
    ("text", "at", "message", "fix"),
    [
        ("SELECT result, speed AS result FROM *", "speed AS result", "Two items are named 'result'", "another name"),
        ("SELECT result + 1, speed FROM *", "result + 1", "no name", "AS result"),
        ("SELECT speed, result * 2 AS x FROM *", "speed", "Candidates are speed, result * 2.", "speed AS result"),
        ("SELECT time, name FROM *", "time", "Candidates are time, name.", "time AS result"),
        (f"SELECT result UNIT 'degF' FROM * {TEMPERATURE}", "result UNIT", "in degC", "UNIT 'degC'"),
        ("SELECT AVG(result) FROM *", "AVG", "An aggregate needs a window", "GROUP BY"),
        ("SELECT * FROM * GROUP BY name, TUMBLE(time, 1 MINUTE)", "TUMBLE", "no record", "AVG(result) AS result"),
        ("SELECT result FROM * GROUP BY name, TUMBLE(time, 1 MINUTE)", "result", "many values", "LAST(result)"),
        ("SELECT AVG(name) FROM * GROUP BY TUMBLE(time, 1 HOUR)", "name", "AVG() does not take name", "AVG(number)"),
        ("SELECT AVG(AVG(result)) FROM * GROUP BY TUMBLE(time, 1 HOUR)", "AVG(result)", "cannot stand here", ""),
        ("SELECT PERCENTILE(result, speed) FROM * GROUP BY TUMBLE(time, 1 HOUR)", "speed", "0 to 100", ""),
        ("SELECT MEDIAN() FROM * GROUP BY TUMBLE(time, 1 HOUR)", "MEDIAN", "does not take 0", "MEDIAN(number)"),
        ("SELECT AVG(PREV(result)) FROM * GROUP BY TUMBLE(time, 1 HOUR)", "PREV", "not in this version", ""),
        ("SELECT COUNT(*) FROM * GROUP BY TUMBLE(time, 1 HOUR) HAVING result > 3", "result", "many values", "LAST"),
        ("SELECT a.result FROM * AS a NEIGHBOUR JOIN *", "*", "needs a name", "AS a"),
        ("SELECT a.result FROM * AS a NEIGHBOUR JOIN * AS a", "*", "same alias", "AS b"),
        ("SELECT result FROM * AS a NEIGHBOUR JOIN * AS b", "result", "needs its alias", "a.result or b.result"),
        ("SELECT a.result FROM * AS a NEIGHBOUR JOIN * AS b WHERE b.sped > 3", "b.sped", "no column", "mean speed?"),
        ("SELECT * FROM * AS a NEIGHBOUR JOIN * AS b WITHIN 10 SECONDS", "NEIGHBOUR", "no record", "a.result"),
        ("SELECT a.result, b.result FROM * AS a ASOF JOIN * AS b", "b.result", "Two items", "another name"),
        (
            "SELECT a.result FROM * AS a ASOF JOIN * AS b ON a.name > b.name",
            "a.name >",
            "equalities",
            "a.name = b.name",
        ),
        ("SELECT a.result FROM * AS a ASOF JOIN * AS b ON a.name = a.thing", "a.name", "each alias", "WHERE"),
        ("SELECT a.result FROM * AS a ASOF JOIN * AS b ON a.name = 'x'", "'x'", "reads one side", "a.name = b.name"),
        ("SELECT a.result FROM * AS a ASOF JOIN * AS b ON a.name = b.speed", "b.speed", "compare", ""),
        ("SELECT PREV(a.result) FROM * AS a ASOF JOIN * AS b", "PREV", "not in this version", ""),
        (
            "SELECT AVG(a.result) FROM * AS a ASOF JOIN * AS b GROUP BY TUMBLE(time, 1 HOUR)",
            "TUMBLE",
            "not in this version",
            "second one",
        ),
    ],
)
def test_errors(text: str, at: str, message: str, fix: str) -> None:
    error = failure(text)
    assert message in error.message
    assert fix in error.fix
    assert text[error.column - 1 :].startswith(at), error.caret
    assert "^" in error.caret


def test_a_join() -> None:
    query = checked(
        f"SELECT a.result AS result, DISTANCE(a, b)/1000 AS km FROM * {TEMPERATURE} AS a "
        "NEIGHBOUR JOIN * FILTER (b.unit = 'm/s') AS b ON b.thing = a.thing AND a.speed = b.speed WITHIN 10 SECONDS "
        "WHERE DISTANCE(a, b) < 1230"
    )
    join = query.join
    assert join is not None
    assert (join.kind, join.within_us) == ("neighbour", 10_000_000)
    assert [[key.name for key in side.keys if isinstance(key, ColumnRef)] for side in join.sides] == [
        ["thing", "speed"],
        ["thing", "speed"],
    ]
    assert join.left.columns == {"result", "latitude", "longitude"}
    assert join.right.columns == {"latitude", "longitude"}
    assert query.columns == {"a.latitude", "a.longitude", "b.latitude", "b.longitude"}
    assert query.output is not None
    assert query.output.result.unit == "degC"
    assert query.is_stateful
    assert query.warnings == ()


def test_several_datastreams_of_one_series_are_named() -> None:
    query = checked(f"SELECT a.result AS result FROM * {TEMPERATURE} AS a ASOF JOIN * FILTER (unit = 'm/s') AS b")
    messages = [w.message for w in query.warnings if w.code == "series"]
    assert len(messages) == 3
    assert "2 Datastreams of a are one series: is.iceland.weather.Stations.Station_1.Air Temperature" in messages[1]
    keyed = f"SELECT a.result AS result FROM * {TEMPERATURE} AS a ASOF JOIN * AS b ON a.thing = b.thing"
    assert ["3 Datastreams of b" in w.message for w in checked(keyed).warnings] == [True]


def test_a_window() -> None:
    query = checked(
        f"SELECT AVG(result) AS result, full_name, MAX(result) - MIN(result) AS span FROM * {TEMPERATURE} "
        "GROUP BY full_name, HOP(time, INTERVAL '1 hour', 5 MINUTES) HAVING COUNT(*) > 3 AND AVG(result) < 4"
    )
    group = query.group
    assert group is not None
    assert [(a.function, len(a.args)) for a in group.aggregates] == [("AVG", 1), ("MAX", 1), ("MIN", 1), ("COUNT", 0)]
    assert (group.window.size_us, group.window.slide_us) == (3_600_000_000, 300_000_000)
    assert group.columns == {"full_name", "result"}
    assert query.output is not None
    assert (query.output.result.unit, [p.name for p in query.output.parameters]) == ("degC", ["full_name", "span"])
    assert query.output.parameters[0].term == ColumnRef(query.output.parameters[0].term.kinds, None, "@0")  # type: ignore[arg-type]


def test_values_on_columns_and_on_rows_agree() -> None:
    text = "SELECT RATE(result) AS result, DISTANCE(latitude, longitude, 0, 0) AS d, DELTA(result) AS e FROM *"
    output = checked(text).output
    assert output is not None
    terms = [output.result.term, *(p.term for p in output.parameters)]
    rows = [
        {"result": 3.5, PREVIOUS: 1, ELAPSED_S: 2.0, "latitude": 1.0, "longitude": 2},
        {"result": 3.5, PREVIOUS: None, ELAPSED_S: None, "latitude": 91.0, "longitude": 2},
        {"result": "warm", PREVIOUS: 3, ELAPSED_S: 0.0, "latitude": None, "longitude": 2},
    ]
    columns = Columns(3, {name: Column([row[name] for row in rows]) for name in rows[0]})
    values, arithmetic = compile_values(terms)(columns)
    counted: list[None] = []
    by_row = [[compile_term(term, lambda: counted.append(None))(row) for row in rows] for term in terms]
    assert values == by_row
    assert values[0] == [1.25, None, None]
    assert arithmetic == len(counted) == 1
