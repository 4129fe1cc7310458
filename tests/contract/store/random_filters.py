"""Random well-typed `$filter` texts over Observations, as strategies of hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from twinstack.query import odata
from twinstack.query.tree import Literal


def _join(pattern: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda given: pattern.format(*given))


_JSON = st.sampled_from(
    ["result", "parameters/n", "parameters/t", "parameters/b", "parameters/a/0", "parameters/a[1]", "parameters/none"]
)
_NUMBER = st.sampled_from(["0", "1", "2", "-3", "7", "0.5", "2.5", "-1.5", "1e2"])
_TEXT = st.sampled_from(["''", "'a'", "'Ab'", "'2'", "'2.5'", "' x '", "'Ä'", "'it''s'", "'😀z'"])
_TIME = st.sampled_from(
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00Z",
        "1969-12-31T23:59:59.5Z",
        "2026-01-02",
        "2026-01-01T02:00:00+01:00",
    ]
)
_INTERVAL = st.sampled_from(
    ["2026-01-01T00:00:00Z/2026-01-01T01:00:00Z", "2026-01-01T01:00:00Z/PT2H", "PT1H/2026-01-01T00:00:00Z"]
)
_DURATION = st.sampled_from(["duration'PT1H'", "duration'P1D'", "duration'-PT0.5S'"])

_time_atoms = st.one_of(_TIME, st.sampled_from(["phenomenonTime", "resultTime", "null"]))
times = st.recursive(
    _time_atoms,
    lambda inner: st.one_of(
        _join("({} add {})", inner.filter(lambda t: t != "null"), _DURATION),
        _join("({} sub {})", inner.filter(lambda t: t != "null"), _DURATION),
        _join("date({})", inner),
    ),
    max_leaves=3,
)
moments = st.one_of(times, _INTERVAL)

_text_atoms = st.one_of(_TEXT, st.sampled_from(["Datastream/name", "Datastream/Thing/name"]), _JSON)
texts = st.recursive(
    _text_atoms,
    lambda inner: st.one_of(
        _join("tolower({})", inner),
        _join("toupper({})", inner),
        _join("trim({})", inner),
        _join("concat({},{})", inner, inner),
        _join("substring({},{})", inner, st.sampled_from(["0", "1", "-1", "5"])),
        _join("substring({},{},{})", inner, st.sampled_from(["0", "1"]), st.sampled_from(["0", "1", "2", "-1"])),
    ),
    max_leaves=4,
)
plain_texts = texts.filter(lambda t: t.startswith(("'", "Datastream", "to", "trim", "concat", "sub")))

_number_atoms = st.one_of(_NUMBER, st.sampled_from(["id", "Datastream/id", "@iot.id"]), _JSON)
numbers = st.recursive(
    _number_atoms,
    lambda inner: st.one_of(
        _join("({} {} {})", inner, st.sampled_from(["add", "sub", "mul", "div", "mod"]), inner),
        _join("-({})", inner),
        _join("{}({})", st.sampled_from(["round", "floor", "ceiling"]), inner),
        _join("length({})", texts),
        _join("indexof({},{})", texts, _TEXT),
        _join(
            "{}({})",
            st.sampled_from(["year", "month", "day", "hour", "minute", "second", "fractionalseconds"]),
            times.filter(lambda t: t != "null"),
        ),
        st.just("totalseconds(phenomenonTime sub 2026-01-01T00:00:00Z)"),
    ),
    max_leaves=5,
)
plain_numbers = numbers.filter(lambda n: not n.startswith(("result", "parameters")))

_compare = st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"])
_conditions = st.one_of(
    _join("{} {} {}", numbers, _compare, plain_numbers),
    _join("{} {} {}", plain_texts, _compare, plain_texts),
    _join("{} {} {}", _JSON, _compare, st.one_of(_NUMBER, _TEXT, _JSON, st.sampled_from(["true", "false", "null"]))),
    _join("{} {} {}", st.one_of(_NUMBER, _TEXT, st.just("null")), _compare, _JSON),
    _join("{} {} {}", times, _compare, moments),
    _join("phenomenonTime sub {} {} {}", _TIME, _compare, _DURATION),
    _join("{} in ({},{})", _JSON, st.one_of(_NUMBER, _TEXT), st.one_of(_NUMBER, _TEXT)),
    _join("id in ({},{},{})", _NUMBER, _NUMBER, st.just("'3'")),
    _join("{}({},{})", st.sampled_from(["contains", "startswith", "endswith", "substringof"]), texts, texts),
    _join(
        "{}({},{})",
        st.sampled_from(["before", "after", "meets", "during", "overlaps", "starts", "finishes"]),
        moments,
        moments,
    ),
    _join("{} eq null", st.one_of(plain_numbers, plain_texts, times.filter(lambda t: t != "null"))),
    st.sampled_from(["parameters/b", "true", "false", "null"]),
)
filters = st.recursive(
    _conditions,
    lambda inner: st.one_of(
        _join("({} and {})", inner, inner),
        _join("({} or {})", inner, inner),
        _join("not ({})", inner),
        _join("({} and {} and {})", inner, inner, inner),
    ),
    max_leaves=5,
)
keys = st.one_of(
    _JSON,
    numbers.filter(lambda n: not isinstance(odata.parse(n), Literal)),
    plain_texts.filter(lambda t: not t.startswith("'")),
    st.sampled_from(["phenomenonTime", "resultTime", "Datastream/Thing/name", "id"]),
)
orders = st.lists(st.tuples(keys, st.sampled_from(["", " asc", " desc"])).map("".join), min_size=1, max_size=3).map(
    ",".join
)
