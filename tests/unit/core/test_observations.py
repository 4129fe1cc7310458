from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinstack.core import limits
from twinstack.core.errors import InvalidRecord, InvalidResult, RecordTooLarge
from twinstack.core.observations import check_result, decode, decode_json, encode

GOOD = b'{"phenomenonTime": "2018-12-04T14:18:11Z", "result": 50.05, "Datastream": {"@iot.id": 2}}'


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "empty"),
        (b"  \n ", "empty"),
        (GOOD + GOOD, "json"),
        (GOOD + b" x", "json"),
        (GOOD[:-5], "json"),
        (b'{"result": NaN}', "number"),
        (b'{"result": -Infinity}', "number"),
        (b'{"result": 1e999}', "number"),
        (b'{"result": 1, "result": 2}', "duplicate_key"),
        (b'{"a": {"b": 1, "b": 1}}', "duplicate_key"),
        (b'{"re\\u0073ult": 1, "result": 2}', "duplicate_key"),
        (b'{"result": "\xff"}', "encoding"),
        (b'{"result": "\\ud800"}', "encoding"),
        (b'{"\\ud800": 1}', "encoding"),
        (b"[1]", "not_object"),
        (b"3", "not_object"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "depth"),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "depth"),
        (b'{"result": ' + b"9" * 5000 + b"}", "number"),
        (b'{"result": "a\nb"}', "json"),
        (b"\xef\xbb\xbf" + GOOD, "json"),
        (b'{"result": 01}', "json"),
        (b"{'result': 1}", "json"),
    ],
)
def test_poison_is_named(value: bytes, reason: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        decode(value)
    assert caught.value.reason == reason


def test_a_good_value_comes_out_right() -> None:
    assert decode(b" " + GOOD + b"\n")["result"] == 50.05
    assert decode('{"result": "Grüße", "n": 9007199254740993}'.encode())["n"] == 9007199254740993


@given(
    st.dictionaries(
        st.text(),
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    )
)
def test_decode_reads_what_json_writes(document: dict[str, object]) -> None:
    assert decode(json.dumps(document).encode()) == document


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_poison(value: bytes) -> None:
    try:
        assert isinstance(decode(value), dict)
    except InvalidRecord as error:
        assert error.reason


def test_encode_has_the_bindings_order() -> None:
    value = encode(
        phenomenon_time="2018-12-04T14:18:11Z",
        result_time=None,
        result=1.5,
        datastream_id=7,
        log_key="a.b.c.d.T.D",
        attributes={"longitude": 13.0},
    )
    assert value == (
        b'{"phenomenonTime":"2018-12-04T14:18:11Z","resultTime":null,"result":1.5,'
        b'"Datastream":{"@iot.id":7,"name":"a.b.c.d.T.D"},"longitude":13.0}'
    )


@pytest.mark.parametrize("result", [float("nan"), {"a": [float("inf")]}])
def test_encode_refuses_what_json_cannot_hold(result: object) -> None:
    with pytest.raises(InvalidResult):
        encode(phenomenon_time="x", result_time=None, result=result, datastream_id=1, log_key="k")


def test_encode_refuses_a_record_over_the_limit() -> None:
    with pytest.raises(RecordTooLarge) as caught:
        encode(phenomenon_time="x", result_time=None, result="x" * (2 * limits.MIB), datastream_id=1, log_key="k")
    assert caught.value.fix


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("OM_Measurement", [1, 1.5], [True, "21,4", None, [1]]),
        ("OM_CountObservation", [1, -3], [1.5, True, "1"]),
        ("OM_TruthObservation", [True, False], [0, 1, "true"]),
        ("OM_CategoryObservation", ["a", ""], [1, None, {}]),
        ("OM_Observation", [1, "a", None, {"x": [1]}], []),
    ],
)
def test_results_are_checked_against_the_observation_type(kind: str, good: list[object], bad: list[object]) -> None:
    for result in good:
        assert check_result(result, kind, "q") == result
    for result in bad:
        with pytest.raises(InvalidResult) as caught:
            check_result(result, f"http://www.opengis.net/def/observationType/OGC-OM/2.0/{kind}", "q")
        assert "'q'" in str(caught.value)
    assert isinstance(check_result(3, "OM_Measurement", "q"), float)


def test_a_value_with_a_schema_registrys_prefix_is_read_without_it() -> None:
    assert decode(b"\0\0\0\1\x02" + b'{"result": 1}') == {"result": 1}
    for short in (b"\0", b"\0\0\0\0\1"):
        with pytest.raises(InvalidRecord) as caught:
            decode(short)
        assert caught.value.reason == "empty"


@pytest.mark.parametrize("escape", ["", "\\u0041"], ids=["plain", "with an escape"])
def test_the_depth_that_fits_is_the_same_whatever_else_the_value_holds(escape: str) -> None:
    wide = ",".join(["[]"] * limits.JSON_DEPTH_MAX)
    for inner, fits in ((limits.JSON_DEPTH_MAX - 1, True), (limits.JSON_DEPTH_MAX, False)):
        text = f'{{"a":{"[" * inner}{"]" * inner},"b":[{wide}],"c":"]]]]{escape}"}}'.encode()
        if fits:
            assert decode_json(text)["c"].startswith("]]]]")
        else:
            with pytest.raises(InvalidRecord) as caught:
                decode_json(text)
            assert caught.value.reason == "depth"
