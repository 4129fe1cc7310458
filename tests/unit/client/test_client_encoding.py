from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinstack.client.encoding import Encoder, Same, format_times, timestamp_us
from twinstack.core import limits
from twinstack.core.errors import InvalidInput, InvalidResult, RecordTooLarge
from twinstack.core.observations import decode, encode
from twinstack.core.timestamps import format_us

NOW_US = 1_800_000_000_123_456
KINDS = ("OM_Measurement", "OM_CountObservation", "OM_TruthObservation", "OM_CategoryObservation", "OM_Observation")
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
OF_KIND: dict[str, st.SearchStrategy[Any]] = {
    "OM_Measurement": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**300), 10**300),
    "OM_CountObservation": st.integers(-(2**63), 2**64 - 1),
    "OM_TruthObservation": st.booleans(),
    "OM_CategoryObservation": st.text(),
    "OM_Observation": JSON_VALUES,
}


def encoder(kind: str = "OM_Measurement", attributes: str = "a b c") -> Encoder:
    stream = {"@iot.id": 7, "name": 'a.b.c.d.T."S"', "observationType": kind}
    return Encoder("speed", stream, frozenset(attributes.split()))


@given(st.data(), st.sampled_from(KINDS))
def test_a_batch_is_what_the_core_encodes_one_by_one(data: st.DataObject, kind: str) -> None:
    results = data.draw(st.lists(OF_KIND[kind], max_size=6))
    n = len(results)
    instants = data.draw(st.lists(st.integers(0, 4_000_000_000_000_000), min_size=n, max_size=n))
    each = data.draw(st.lists(JSON_VALUES, min_size=n, max_size=n))
    same = data.draw(JSON_VALUES)
    times = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us) for us in instants]
    values = encoder(kind).encode(results, times, NOW_US, {"a": each, "b": Same(same)})
    assert values == [
        encode(
            phenomenon_time=format_us(us),
            result_time=format_us(NOW_US),
            result=float(result) if kind == "OM_Measurement" else result,
            datastream_id=7,
            log_key='a.b.c.d.T."S"',
            attributes={"a": attribute, "b": same},
        )
        for us, result, attribute in zip(instants, results, each, strict=True)
    ]
    for value in values:
        decode(value)


@given(st.lists(st.integers(-62_000_000_000_000_000, 250_000_000_000_000_000), max_size=20))
def test_times_in_a_batch(instants: list[int]) -> None:
    assert format_times(instants) == [format_us(us).encode() for us in instants]


def test_now_for_all() -> None:
    values = [json.loads(v) for v in encoder().encode([1, 2.5], None, NOW_US, {})]
    assert [v["result"] for v in values] == [1.0, 2.5]
    assert {v["phenomenonTime"] for v in values} == {v["resultTime"] for v in values} == {format_us(NOW_US)}


def test_timestamps_of_any_form() -> None:
    zone = timezone(timedelta(hours=1))
    moment = datetime(2026, 11, 24, 13, 0, 0, 250_000, zone)
    forms = [moment, moment.astimezone(UTC).replace(tzinfo=None), "2026-11-24T13:00:00.25+01:00", moment.timestamp()]
    assert {timestamp_us(form) for form in forms} == {1_795_521_600_250_000}
    interval = "2026-11-24T12:00:00Z/2026-11-24T14:00:00+01:00"
    values = encoder().encode([1.0, 2.0], [interval, 1_800_000_000], NOW_US, {})
    assert [json.loads(v)["phenomenonTime"] for v in values] == [
        "2026-11-24T12:00:00Z/2026-11-24T13:00:00Z",
        "2027-01-15T08:00:00Z",
    ]


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("OM_Measurement", "1"),
        ("OM_Measurement", True),
        ("OM_Measurement", None),
        ("OM_Measurement", math.nan),
        ("OM_Measurement", -math.inf),
        ("OM_Measurement", 10**400),
        ("OM_CountObservation", 1.0),
        ("OM_CountObservation", True),
        ("OM_TruthObservation", 1),
        ("OM_CategoryObservation", 1),
        ("OM_CategoryObservation", "\ud800"),
        ("OM_Observation", math.nan),
        ("OM_Observation", {"a": [math.inf]}),
        ("OM_Observation", object()),
        ("OM_Observation", {"a": "\ud800"}),
    ],
)
def test_one_bad_result_and_none_is_made(kind: str, bad: Any) -> None:
    good = {"OM_Measurement": 1.0, "OM_CountObservation": 1, "OM_TruthObservation": True}.get(kind, "x")
    with pytest.raises(InvalidResult, match=r"speed|not a number"):
        encoder(kind).encode([bad], None, NOW_US, {})
    with pytest.raises(InvalidResult, match="record 2 of 3"):
        encoder(kind).encode([good, bad, good], None, NOW_US, {})


def test_nesting_has_a_bound() -> None:
    deep: Any = 1
    for _ in range(limits.JSON_DEPTH_MAX + 2):
        deep = [deep]
    with pytest.raises(InvalidResult):
        encoder("OM_Observation").encode([deep], None, NOW_US, {})


def test_attributes() -> None:
    (value,) = encoder().encode([1.0], None, NOW_US, {"a": Same([1, 2]), "parameters": Same({"x": 1})})
    assert json.loads(value)["a"] == [1, 2]
    with pytest.raises(InvalidInput, match="'z' is no attribute"):
        encoder().encode([1.0], None, NOW_US, {"z": Same(1)})
    with pytest.raises(InvalidInput, match="'a' has 1 values for 2 results"):
        encoder().encode([1.0, 2.0], None, NOW_US, {"a": [1]})
    with pytest.raises(InvalidInput, match="timestamps has 1 values"):
        encoder().encode([1.0, 2.0], [1], NOW_US, {})
    with pytest.raises(InvalidInput, match="'a' cannot be written"):
        encoder().encode([1.0], None, NOW_US, {"a": Same(math.nan)})
    with pytest.raises(InvalidInput, match="result, which every record has"):
        encoder(attributes="a result")


def test_a_record_has_a_bound() -> None:
    encoder("OM_CategoryObservation").encode(["x" * 900_000], None, NOW_US, {})
    with pytest.raises(RecordTooLarge):
        encoder("OM_CategoryObservation").encode(["x", "x" * limits.RECORD_VALUE_BYTES_MAX], None, NOW_US, {})


def test_no_results_make_no_records() -> None:
    for kind in KINDS:
        assert encoder(kind).encode([], [], NOW_US, {"a": []}) == []
