"""Columns over decoded batches: exact numbers, times, places."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_fakes import SOURCE, entity, system_catalogue

from twinstack.core.errors import InvalidTimestamp
from twinstack.core.timestamps import parse_interval_us
from twinstack.query.streamsql.vectors import read, to_items
from twinstack.streams.columns import columns_of, times_us
from twinstack.streams.context import SourceContext
from twinstack.streams.decode import Decoder

OWN = f"{SOURCE}.Station_1.Air Temperature"


def read_column(name: str, *records: dict[str, Any], warm: bool = False) -> list[Any]:
    """The column as the evaluator sees it."""
    place = entity(OWN, 7)
    place["Thing"]["Locations"] = [{"location": {"type": "Point", "coordinates": [13.5, 47.5, 430]}}]
    context = SourceContext(f"{SOURCE}.int", system_catalogue(place), needed=True)
    decoder = Decoder()
    values = [json.dumps({"Datastream": {"name": OWN}, **record}).encode() for record in records]
    if warm:
        decoder.decode([values[0]] * 100)
    decoded = decoder.decode(values)
    codes = context.resolve(decoded, lambda: [None] * len(values))
    columns = columns_of(frozenset({name}), decoded, context, codes)
    return list(to_items(read(columns.columns[name]), columns.n))


@given(
    st.lists(
        st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20
    )
)
def test_numbers_stay_exact(numbers: list[int | float]) -> None:
    for warm in (False, True):
        read = read_column("result", *({"result": n} for n in numbers), warm=warm)
        assert [x == n for x, n in zip(read, numbers, strict=True)] == [True] * len(numbers)


def test_values_of_many_kinds_stay_what_they_are() -> None:
    values = [1, 2.5, True, "x", None, [1]]
    read = read_column("result", *({"result": v} for v in values))
    assert [type(x) for x in read[:4]] == [int, float, bool, str]
    assert read[4] is None


iso = st.builds(
    lambda moment, fraction, offset, sep: f"{moment:%Y-%m-%d}{sep}{moment:%H:%M:%S}{fraction}{offset}",
    st.datetimes(),
    st.sampled_from(["", ".5", ".123456", ".1234567", ",25", ".999999999"]),
    st.sampled_from(["", "Z", "z", "+01:00", "-1130", "+05", "+24:00", "+00:00:30"]),
    st.sampled_from(["T", " "]),
)


@settings(max_examples=500)
@given(iso | st.text(max_size=30) | st.builds(lambda a, b: f"{a}/{b}", iso, iso) | st.integers().map(str))
def test_times_are_read_as_the_core_reads_them(text: str) -> None:
    try:
        expected = parse_interval_us(text)[0]
    except InvalidTimestamp:
        expected = None
    assert times_us([text]) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "2018-W01-1T12:00:00Z",
        "20180102T120000Z",
        "2018-12-04T14:18:60Z",
        "2018-12-04T24:00:00Z",
        "2018-12-04T14:18:00+00:00:30",
        "2018-12-04T14:18:00.5-11:30:15.5",
        "2018-12-04T14:18:00.1234567Z",
        "2018-12-04T14:18:00.Z",
        "2018-12-04T14:18:00.+01:00",
        "2018-12-04T14:18.5:00Z",
        "2018-12-04T14:18:00.12345\u0661Z",
        "Z",
        "",
    ],
)
def test_forms_that_one_reader_alone_would_take(text: str) -> None:
    try:
        expected = parse_interval_us(text)[0]
    except InvalidTimestamp:
        expected = None
    assert times_us([text]) == [expected]


def test_a_time_that_is_no_text_is_null() -> None:
    assert read_column("time", {"phenomenonTime": 5}, {}, {"phenomenonTime": "1970-01-01T00:00:01Z"}) == [
        None,
        None,
        1_000_000,
    ]


def test_the_place_is_the_records_else_the_things() -> None:
    records = ({"longitude": 1.5, "attitude": 7}, {}, {"altitude": 3, "attitude": 4})
    assert read_column("longitude", *records) == [1.5, 13.5, 13.5]
    assert read_column("altitude", *records) == [7, 430.0, 3]


def test_attributes_and_parameters() -> None:
    records = ({"speed": 3, "parameters": {"x": "a"}}, {"parameters": 5}, {"parameters": {"x": None}})
    assert read_column("speed", *records) == [3, None, None]
    assert read_column("parameters.x", *records) == ["a", None, None]


def test_metadata_come_from_the_datastream_and_are_null_for_a_foreign_record() -> None:
    assert read_column("thing", {}, {"Datastream": {"name": "x"}}) == ["Station_1", None]
