"""Every error has a place, a caret line and a fix; random text raises nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinstack.core import limits
from twinstack.core.errors import QueryError
from twinstack.query.streamsql import (
    STAR,
    Catalogue,
    CatalogueDatastream,
    Column,
    Columns,
    SourceRef,
    check,
    compile_columns,
    compile_explain,
    compile_row,
    parse,
)

CATALOGUE = Catalogue(
    (
        CatalogueDatastream(
            name="Station_1.Air Temperature",
            full_name="is.iceland.weather.Stations.Station_1.Air Temperature",
            system="is.iceland.weather.Stations",
            thing="Station_1",
            datastream="Air Temperature",
            observed_property="Air Temperature",
            unit="m",
            result_kind="float",
            attributes={"speed": "float", "time": "string"},
        ),
    )
)


def failure(text: str, catalogue: Catalogue = CATALOGUE) -> QueryError:
    with pytest.raises(QueryError) as caught:
        check(parse(text), catalogue)
    return caught.value


WHERE = "SELECT * FROM * WHERE "


@pytest.mark.parametrize(
    ("condition", "at", "message", "fix"),
    [
        ("result > '30'", "'30'", "'>' cannot compare result, a number, with '30', a text", "Write 30 without quotes."),
        ("name = 4", "4", "'=' cannot compare name, a text, with 4, a whole number", "Write '4' in single quotes."),
        ("6 = 'another beer'", "'another beer'", "cannot compare", "Compare it with a number."),
        ("time > 3", "3", "cannot compare time, a time", "CAST"),
        ("time > 'yesterday'", "'yesterday'", "is not a timestamp", "ISO 8601"),
        ("result < 3 km", "3 km", "A number has no unit", "Write 3000, the Datastream's unit 'm' is meant."),
        ("result < 3.5mm", "3.5mm", "A number has no unit", "Write 0.0035"),
        ("result = 30asdf", "30asdf", "A number has no unit", "Write 30"),
        ("bad_Name = 'x'", "bad_Name", "There is no column 'bad_Name'", "Did you mean name?"),
        ("Result < 4", "Result", "There is no column 'Result'", "Did you mean result?"),
        ("sped < 4", "sped", "There is no column 'sped'", "Did you mean speed?"),
        ("phenomenonTime > '2026-01-01'", "phenomenonTime", "no column", "Did you mean time?"),
        ("qqqqq < 4", "qqqqq", "There is no column", "Columns are altitude, datastream"),
        ('name = "Station"', '"Station"', "There is no column 'Station'", "Write text in single quotes: 'Station'."),
        ("parameters.a.b = 4", "parameters.a.b", "There is no column", ""),
        ("result ~ 30", "~", "'~' has no meaning here", "Operators are"),
        ("result == 30", "==", "'==' is not an operator", "Write = for 'equals'."),
        ("result < 4 && TRUE", "&&", "is not an operator", "Write AND."),
        ("result < 4 < 5", "< 5", "cannot follow another comparison", "a < b AND b < c"),
        ("(result < 30)))) AND result > 4)", "))) AND", "This ')' closes nothing", "Remove it"),
        ("(result < 30", "", "The text ends too early. Expected ')' or an operator", ""),
        ("name = 'stranger's name'", "'", "is never closed", "'the stranger''s car'"),
        ("name = 'a' b", "b", "'b' cannot stand here", "A quote inside a text is doubled"),
        ("result", "result", "WHERE takes conditions, result is a number", "Compare it: result = 0."),
        ("NOT result", "result", "NOT takes conditions", "Compare it"),
        ("result AND TRUE", "result", "AND takes conditions", "Compare it"),
        ("name + 'x' = 'y'", "name", "'+' does not take name, which is a text", "CONCAT(a, b)"),
        ("time - time > 3", "time", "'-' does not take time", "not in this version"),
        ("LENGTH(result) > 3", "result)", "LENGTH() does not take result", "LENGTH(text)"),
        ("LOWER() = 'x'", "LOWER()", "LOWER() does not take 0 arguments", "Write LOWER(text)."),
        ("ABZ(result) > 3", "ABZ(result)", "There is no function ABZ()", "Did you mean ABS?"),
        ("AVG(result) > 3", "AVG(result)", "AVG() cannot stand here: An aggregate needs a window.", "GROUP BY"),
        ("WITHIN_AREA('{}')", "WITHIN_AREA", "WITHIN_AREA() is not in this version", ""),
        ("CONVERT(result, 'degF') > 3", "CONVERT", "CONVERT() is not in this version", ""),
        ("DISTANCE(1, 2, 3) > 3", "DISTANCE", "DISTANCE() does not take 3 arguments", "DISTANCE(a, b)"),
        ("DISTANCE(1, 2, 3, name) > 3", "name", "DISTANCE() does not take name", ""),
        ("PREV(result + 1) > 3", "PREV", "PREV() is of the Datastream's result", "PREV(result)"),
        ("RATE(time) > 3", "RATE", "RATE() is of the Datastream's result", "RATE(result)"),
        ("CAST(time AS INT) = 3", "CAST(time AS INT)", "A time becomes no number", "YEAR(time)"),
        ("CAST(result AS WORD) = 3", "WORD", "'WORD' is not a type", ""),
        ("CASE WHEN TRUE THEN time ELSE 3 END = time", "3 END", "This does not take 3", "one type"),
        ("CASE 3 END = 3", "END", "Expected WHEN", "CASE WHEN"),
        ("result IN ()", ")", "The list of IN is empty", ""),
        ("result IN ('a')", "'a'", "IN cannot compare", "Compare it with a number."),
        ("result BETWEEN 3 OR 4", "OR", "Expected AND and the upper bound", "BETWEEN 1 AND 3"),
        ("result IS 4", "4", "Expected NULL or NOT NULL", "Write ="),
        ("result NOT 4", "4", "Expected IN, BETWEEN or LIKE", "NOT result = 4"),
        ("name LIKE 4", "4", "LIKE does not take 4", ""),
        (f"name LIKE '{'a' * 1001}'", "'aaa", "more than 1000 characters", "Shorten"),
    ],
)
def test_errors(condition: str, at: str, message: str, fix: str) -> None:
    text = WHERE + condition
    error = failure(text)
    assert message in error.message
    assert fix in error.fix
    assert error.line == 1
    if at:
        assert error.column - 1 in _occurrences(text, at), error.caret
    shown, mark = error.caret.split("\n")
    assert mark.strip("^ ") == ""
    assert shown[mark.index("^") :][:1] == text[error.column - 1 : error.column]


def _occurrences(text: str, part: str) -> set[int]:
    return {i for i in range(len(text)) if text.startswith(part, i)}


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "Expected SELECT"),
        ("result < 4", 1, "'result' cannot stand here. Expected SELECT."),
        ("SELECT *", 9, "Expected ',' or FROM"),
        ("SELECT * FROM", 14, "Expected '*' or a system"),
        ("SELECT * FROM WHERE", 15, "Expected '*' or a system"),
        ("SELECT * FROM a.b.c", 15, "it has 3 levels, a system has 4"),
        ("SELECT * FROM cz.icecars.Fleet.Car1.log", 15, "it has 5 levels"),
        ("SELECT * FROM * result < 4", 17, "Expected WHERE, GROUP BY or the end"),
        ("SELECT * FROM * WHERE", 22, "ends too early"),
        ("SELECT * FROM * WHERE result < 4; x", 35, "'x' cannot stand here"),
        ("SELECT * FROM * JOIN *", 17, "JOIN is not in this version"),
        ("SELECT * FROM * GROUP BY SESSION(time, 5)", 26, "Session windows are not in this version"),
        ("SELECT * FROM * EMIT CHANGES", 17, "EMIT CHANGES are not in this version"),
        ("SELECT * FROM * GROUP BY name", 30, "Expected ',' and a window"),
        ("SELECT * FROM * GROUP BY TUMBLE(time, 0 SECONDS)", 39, "'0 SECONDS' is not a duration"),
        ("SELECT * FROM * GROUP BY TUMBLE(time, INTERVAL 'soon')", 39, "'soon' is not a duration"),
        ("SELECT * FROM * HAVING result < 4", 24, "HAVING is about windows"),
    ],
)
def test_errors_of_the_statement(text: str, column: int, message: str) -> None:
    error = failure(text)
    assert (error.line, error.column) == (1, column)
    assert message in error.message


def test_lines_are_counted() -> None:
    error = failure("SELECT *\nFROM *\nWHERE name = 'a'\n  AND reslt < 4;")
    assert (error.line, error.column, error.fix) == (4, 7, "Did you mean result?")
    assert error.caret == "  AND reslt < 4;\n      ^^^^^"
    assert error.as_dict()["line"] == 4


@pytest.mark.parametrize(
    "text",
    [
        "“SELECT * FROM * WHERE result < 4;”",
        "‘SELECT * FROM * WHERE result < 4;’",
        '"SELECT * FROM * WHERE result < 4;"',
        "'SELECT * FROM * WHERE result < 4;'",
        " „ SELECT * FROM * WHERE result < 4 “ ",
        "select * from * where result<4",
        "SELECT * FROM * FILTER (result < 4)",
        "SELECT * FROM * AS a WHERE a.result < 4",
    ],
)
def test_spellings_of_one_query(text: str) -> None:
    condition = compile_row(check(parse(text), CATALOGUE))
    assert condition({"result": 3}) is True
    assert condition({"result": 4}) is False
    assert condition({}) is None


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        ("name = ‘x’", "x"),
        ("name = “x”", "x"),
        ("name = ’x’", "x"),
        ("name = 'Peter’s car'", "Peter’s car"),
        ("name = 'Peter''s car'", "Peter's car"),
        ("name = ‘Peter's car’", "Peter's car"),
        ("name = ‘a’’b’", "a‘b"),
        ("name = ''", ""),
        ("name = 'a AND b < c; --'", "a AND b < c; --"),
    ],
)
def test_quotes(condition: str, name: str) -> None:
    assert compile_row(check(parse(WHERE + condition), Catalogue()))({"name": name}) is True


def test_sources() -> None:
    def sources(text: str) -> object:
        return check(parse(f"SELECT * FROM {text}"), Catalogue()).sources

    car = "cz.icecars.iot4cps-wp5-CarFleet.Car1"
    assert sources("*") is STAR
    assert sources(car) == (SourceRef(car, "int"),)
    assert sources(f"{car}.ext,is.iceland.weather.Stations.int ;") == (
        SourceRef(car, "ext"),
        SourceRef("is.iceland.weather.Stations", "int"),
    )
    assert sources("in.or.and.as WHERE result < 4") == (SourceRef("in.or.and.as"),)
    assert parse(f"“SELECT * FROM {car}”").side.sources == (SourceRef(car),)
    assert SourceRef(car, "ext").topic == f"{car}.ext"


def test_what_check_gives() -> None:
    checked = check(parse(WHERE + "result < 4 AND time > '2026-01-01' OR parameters.x IS NULL"), CATALOGUE)
    assert checked.columns == {"result", "time", "parameters.x"}
    assert (checked.constant, checked.warnings) == (None, ())
    assert compile_row(checked)({"result": 3, "time": 1_795_521_600_000_000}) is True
    everything = check(parse("SELECT * FROM *"), CATALOGUE)
    assert (everything.where, everything.constant, everything.columns) == (None, True, frozenset())
    assert compile_row(everything)({}) is True


@pytest.mark.parametrize(
    ("condition", "codes", "constant", "fix"),
    [
        ("1 = 1", ["constant"], True, ""),
        ("1 = 2", ["constant"], False, ""),
        ("result < NULL", ["constant"], False, ""),
        ("result = NULL", ["constant", "constant"], False, "Write result IS NULL."),
        ("result < 4 AND 1 < 2", ["constant"], None, ""),
        ("result < 4 OR 1 < 2", ["constant"], True, ""),
        ("result < 1 / 0", ["arithmetic", "constant"], False, ""),
        ("datastream = 'Air temperature'", ["no_datastream"], None, "Did you mean 'Air Temperature'?"),
        ("thing IN ('Station_2', 'Station1') AND result < 4", ["no_datastream"], None, "Did you mean 'Station_1'?"),
        ("name LIKE '%Humidity'", ["no_datastream"], None, ""),
        ("name LIKE '%Temperature' AND result < 4", [], None, ""),
        ("NOT name = 'x' AND result < 4", [], None, ""),
        ("name = 'x' OR result < 4", [], None, ""),
    ],
)
def test_warnings(condition: str, codes: list[str], constant: bool | None, fix: str) -> None:
    checked = check(parse(WHERE + condition), CATALOGUE)
    assert [warning.code for warning in checked.warnings] == codes
    assert checked.constant is constant
    assert not fix or any(warning.fix == fix for warning in checked.warnings)
    assert all(warning.line == 1 and "^" in warning.caret for warning in checked.warnings)
    assert [w.code for w in check(parse(WHERE + condition), Catalogue()).warnings] == [
        code for code in codes if code != "no_datastream"
    ]


def test_a_fixed_column_wins_over_an_attribute() -> None:
    check(parse(WHERE + "time > '2026-01-01'"), CATALOGUE)


def test_results_of_several_kinds_are_judged_by_value() -> None:
    catalogue = Catalogue(
        (CatalogueDatastream(name="a", result_kind="float"), CatalogueDatastream(name="b", result_kind="string"))
    )
    condition = compile_row(check(parse(WHERE + "result > '30' OR result > 30"), catalogue))
    assert [condition({"result": value}) for value in (31, "31", 29, True, None)] == [True, True, None, None, None]


def test_explain() -> None:
    checked = check(parse(WHERE + "result * 2 < 4 AND time > '2026-01-01'"), CATALOGUE)
    explained = compile_explain(checked)({"result": 3, "time": 1_795_521_600_000_000})
    assert {item.text: item.value for item in explained} == {
        "result * 2 < 4 AND time > '2026-01-01'": False,
        "result * 2 < 4": False,
        "result * 2": 6,
        "result": 3,
        "time > '2026-01-01'": True,
        "time": "2026-11-24T12:00:00Z",
    }


def test_limits() -> None:
    assert "nested deeper than 64" in failure(WHERE + "(" * 64 + "result < 4" + ")" * 64).message
    assert "more than 2000 parts" in failure(WHERE + " OR ".join(["a=1"] * 600)).message
    assert "bytes" in failure(WHERE + "result < 4" + " " * limits.QUERY_BYTES_MAX).message
    many = WHERE + " OR ".join(["result=1"] * 499)
    assert compile_row(check(parse(many), Catalogue()))({"result": 1}) is True
    deep = WHERE + "NOT " * 62 + "result < 4"
    assert compile_row(check(parse(deep), Catalogue()))({"result": 1}) is True
    nested = "result"
    for _ in range(20):  # an operand that stood in the tree once for each WHEN would double with each level
        nested = f"CASE {nested} WHEN 1 THEN 2 WHEN 2 THEN 1 END"
    compile_columns(check(parse(f"{WHERE}{nested} = 1"), Catalogue()))


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("ABS(", ")"),
        ("-(", ")"),
        ("COALESCE(", ", 1)"),
        ("CASE WHEN result IS NULL THEN 0 ELSE ", " END"),
        ("CASE ", " WHEN 5 THEN 6 ELSE 4 END"),
        ("CAST(", " AS FLOAT)"),
        ("(1 + ", ")"),
        ("LEAST(9, ", ")"),
    ],
)
def test_the_deepest_expression_runs(begin: str, end: str) -> None:
    text = f"{WHERE}{begin * 30}parameters.x{end * 30} < 1000 AND name LIKE '%'"
    checked = check(parse(text), CATALOGUE)
    row = {"parameters.x": 4, "result": 1, "name": "a"}
    assert compile_row(checked)(row) is True
    columns = Columns(2, {name: Column([value, value]) for name, value in row.items()})
    assert compile_columns(checked)(columns)[0].tolist() == [True, True]
    assert compile_explain(checked)(row)[0].value is True


def test_texts_do_not_grow_without_bound() -> None:
    text = "name"
    for _ in range(40):
        text = f"REPLACE({text}, 'a', 'aaaaaaaaaaaaaaaa')"
    condition = compile_row(check(parse(f"{WHERE}{text} = 'x'"), Catalogue()))
    assert condition({"name": "a"}) is None
    assert condition.arithmetic == 1


PIECES = st.sampled_from(
    [
        "SELECT",
        "*",
        "FROM",
        "WHERE",
        "AND",
        "OR",
        "NOT",
        "XOR",
        "IN",
        "BETWEEN",
        "LIKE",
        "IS",
        "NULL",
        "TRUE",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "CAST",
        "AS",
        "INT",
        "(",
        ")",
        ",",
        ".",
        ";",
        "=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "result",
        "name",
        "time",
        "unit",
        "parameters.x",
        "4",
        "0.5",
        "1e400",
        "9223372036854775808",
        "'a'",
        "‘b’",
        "“c”",
        '"',
        "'",
        "3km",
        "INTERVAL",
        "TUMBLE",
        "HOP",
        "GROUP",
        "BY",
        "HAVING",
        "JOIN",
        "NEIGHBOUR",
        "ON",
        "WITHIN",
        "FILTER",
        "UNIT",
        "ABS",
        "ROUND",
        "COALESCE",
        "LENGTH",
        "REPLACE",
        "COUNT",
        "cz.icecars.Fleet.Car1",
        "~",
        "\\",
        "°",
        "µ",
        "²",
        "é",
        "\x00",
        "�",
        "٣",
        "\n",
        "\t",
    ]
)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(PIECES, max_size=25).map(" ".join),
    st.lists(PIECES, max_size=20).map(lambda pieces: WHERE + " ".join(pieces)),
    st.lists(PIECES, max_size=12).map(lambda pieces: WHERE + "".join(pieces)),
)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_random_text_raises_query_errors_only(text: str) -> None:
    try:
        checked = check(parse(text), CATALOGUE)
    except QueryError as error:
        assert error.line >= 1
        assert error.column >= 1
        assert "^" in error.caret
        return
    row = {"result": 3.5, "name": "a", "time": 0, "parameters.x": [1]}
    assert compile_row(checked)(row) in (True, False, None)


def test_many_names_and_many_datastreams() -> None:
    catalogue = Catalogue(tuple(CatalogueDatastream(name=f"Car_{i}.Speed") for i in range(5_000)))
    names = " OR ".join(f"name = 'Bus_{i}.Speed'" for i in range(400))
    assert [w.code for w in check(parse(WHERE + names), catalogue).warnings] == ["no_datastream"]
    assert check(parse(f"{WHERE}{names} OR name = 'Car_7.Speed'"), catalogue).warnings == ()
