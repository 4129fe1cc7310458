from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinstack.core.errors import InvalidTimestamp
from twinstack.core.timestamps import format_us, parse_interval_us, parse_us

NOON_US = 1_543_925_891_376_306


@pytest.mark.parametrize(
    "value",
    [
        "2018-12-04T12:18:11.376306+00:00",
        "2018-12-04T12:18:11.376306Z",
        "2018-12-04 13:18:11.376306+0100",
        "2018-12-04T07:18:11.376306-05",
        "2018-12-04T12:18:11.376306",
        "2018-12-04T12:18:11,376306Z",
        "2018-12-04T12:18:11.3763062Z",
        1543925891376306,
        1543925891376306000,
        1543925891376306499,
        "1543925891376306",
        "1543925891.376306",
    ],
)
def test_one_instant_in_many_writings(value: str | int) -> None:
    assert parse_us(value) == NOON_US


def test_epochs_are_told_apart_by_their_digits() -> None:
    assert parse_us(1543925891) == 1543925891_000_000
    assert parse_us(1543925891376) == 1543925891_376_000
    assert parse_us(1543925891.5) == 1543925891_500_000
    assert parse_us(1543925891376306500) == NOON_US + 1  # ns are rounded to us


@pytest.mark.parametrize(
    "value",
    ["", "yesterday", "2018-13-04T00:00:00Z", "2018-12-04T25:00:00Z", 12345, True, None, float("nan"), float("inf"),
     "2018-12-04T12:18:11+99:00", [], "2018-12-04T12:18:11Z junk"],
)  # fmt: skip
def test_what_is_no_timestamp_is_refused_with_a_fix(value: object) -> None:
    with pytest.raises(InvalidTimestamp) as caught:
        parse_us(value)  # type: ignore[arg-type]
    assert "ISO 8601" in caught.value.fix


def test_intervals() -> None:
    assert parse_interval_us("2018-12-04T00:00:00Z") == (1543881600_000_000, None)
    assert parse_interval_us("2018-12-04T00:00:00Z/2018-12-05T00:00:00Z")[1] == 1543968000_000_000
    with pytest.raises(InvalidTimestamp):
        parse_interval_us("2018-12-05T00:00:00Z/2018-12-04T00:00:00Z")


@given(
    st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),
    st.integers(-14 * 60, 14 * 60),
)
def test_any_offset_reads_as_the_same_instant(moment: datetime, offset_min: int) -> None:
    local = moment.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
    us = parse_us(local.isoformat())
    assert us == (local - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_us(format_us(us)) == us


def test_fractions_are_as_long_as_needed() -> None:
    assert format_us(1_500_000) == "1970-01-01T00:00:01.5Z"
    assert format_us(0) == "1970-01-01T00:00:00Z"
    assert format_us(-1) == "1969-12-31T23:59:59.999999Z"
