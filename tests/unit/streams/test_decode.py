"""Decoding batches: whatever stands beside a value, it comes out as `core.observations.decode` reads it alone."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinstack.core import observations
from twinstack.core.errors import InvalidRecord
from twinstack.streams.decode import Decoded, Decoder, dig


def warm(decoder: Decoder) -> Decoder:
    """A decoder that has met `record()` so often that it is tried first."""
    decoder.decode([record()] * 100)
    assert decoder._usual is not None
    return decoder


PATHS = [
    ("result",),
    ("phenomenonTime",),
    ("resultTime",),
    ("Datastream",),
    ("Datastream", "@iot.id"),
    ("Datastream", "name"),
    ("longitude",),
    ("parameters", "x"),
    ("missing",),
]


def record(result=1.5, *, name="a.b.c.d.T.D", extra="", time="2026-11-24T12:00:00Z") -> bytes:
    return (
        f'{{"phenomenonTime":"{time}","resultTime":null,"result":{result},'
        f'"Datastream":{{"@iot.id":2,"name":"{name}"}}{extra}}}'
    ).encode()


def check(values: list[bytes | None], decoded: Decoded) -> None:
    """`decoded` equals decoding each value alone: same values, same types, same poison."""
    expected, bad = [], {}
    for i, value in enumerate(values):
        try:
            expected.append(observations.decode(value or b""))
        except InvalidRecord as error:
            expected.append({})
            bad[i] = error.reason
    assert {p.place: p.error.reason for p in decoded.poison} == bad
    for path in PATHS:
        column = decoded.column(path)
        assert [json.dumps(x) for x in column] == [json.dumps(dig(r, path)) for r in expected], path
        if decoded.numeric(path):
            assert all(isinstance(x, int | float) and not isinstance(x, bool) for x in column)


BAD = [
    b"",
    b"   ",
    b"null",
    b"[]",
    b"12",
    b'"text"',
    b"{",
    record()[:-1],
    record()[:40],
    record()[40:],
    record() + record(),
    record() + b"{}",
    record() + b" 1",
    record() + b"\x00",
    b"\0\0\0\0",
    b"\0" + record(),
    record("NaN"),
    record("Infinity"),
    record("1e400"),
    record("01"),
    record("1."),
    record("9" * 401),
    record('"\\ud800"'),
    record(name="a\\udc00"),
    record(name="tab\tin"),
    record().replace(b"a.b", b"\xff\xfe"),
    record().replace(b"a.b", b"\xed\xa0\x80"),
    record(extra=',"result":2'),
    record(extra=',"result" :2'),
    record(extra=',"\\u0072esult":2'),
    record(extra=',"unread":NaN'),
    record(extra=',"unread":{"a":1,"a":2}'),
    record(extra=',"Datastream":{"@iot.id":3,"name":"x"}'),
    record().replace(b'"@iot.id":2', b'"@iot.id":2,"@iot.id":3'),
    record(extra=',"deep":' + "[" * 40 + "]" * 40),
    record(extra=',"deep":' + "[" * 100_000 + "]" * 100_000),
    record("tru"),
    None,
]
GOOD = [
    record(),
    record(3),
    record(0),
    record("-0"),
    record("-0.0"),
    record("1e5"),
    record(2**63),
    record(2**63 - 1),
    record(-(2**63) - 1),
    record(10**30),
    record("9" * 400),
    record("true"),
    record("null"),
    record('"text"'),
    record('"with \\"quotes\\" in it"'),
    record("[1,2.5]"),
    record("[]"),
    record('["a"]'),
    record('{"x":[1,true]}'),
    record(name="Lufttemperatur über Grund"),
    record(name="\\u00fc"),
    record(name=""),
    record(extra=',"longitude":13.04,"latitude":47'),
    record(extra=',"parameters":{"x":"y"}'),
    record(extra=',"parameters":{"x":4}'),
    record(extra=',"parameters":{}'),
    b" \n" + record() + b"\t\r\n",
    record().replace(b'":', b'" : '),
    b"\0\0\0\0\7" + record(),
    b"{}",
    b'{"result":5,"Datastream":{"@iot.id":7}}',
    b'{"Datastream":5}',
    b'{"":1}',
    json.dumps({"result": 1, "a": [[1, 2], [3, 4]], "b": [[], [1]]}).encode(),
]


@pytest.mark.parametrize("value", BAD)
def test_a_bad_value_is_flagged_between_good_ones_of_its_kind(value: bytes | None) -> None:
    decoder = warm(Decoder())
    values = [*[record(i) for i in range(20)], value, *[record(i) for i in range(20)]]
    decoded = decoder.decode(values)
    assert [p.place for p in decoded.poison] == [20]
    check(values, decoded)


@pytest.mark.parametrize("value", GOOD)
def test_a_shape_made_from_a_value_reads_it_as_the_full_parser_does(value: bytes) -> None:
    decoder = Decoder()
    for n in (1, 3, 5):
        decoded = decoder.decode([value] * n)
        check([value] * n, decoded)
        assert not decoded.poison


def test_two_halves_of_a_value_do_not_become_one() -> None:
    decoder = warm(Decoder())
    whole = record(7)
    for cut in range(1, len(whole)):
        values = [record(1), whole[:cut], whole[cut:], record(2)]
        decoded = decoder.decode(values)
        assert [p.place for p in decoded.poison] == [1, 2]
        assert decoded.column(("result",)) == [1, None, None, 2]


def test_a_missing_quotation_mark_does_not_hide_a_duplicate() -> None:
    """One value with two marks too few and one with two too many: the sum would be right, so each must be."""
    decoder = warm(Decoder())
    values = [record(), record().replace(b'"phenomenonTime":"2026-11-24T12:00:00Z",', b""), record(extra=',"result":9')]
    decoded = decoder.decode(values)
    assert [p.place for p in decoded.poison] == [2]
    check(values, decoded)


def test_a_value_beyond_the_size_limit_is_poison_in_a_known_shape() -> None:
    decoder = warm(Decoder())
    huge = record(name="a" * (2 * 1024 * 1024))
    values = [record(1), huge, record(2)]
    decoded = decoder.decode(values)
    assert [(p.place, p.error.reason) for p in decoded.poison] == [(1, "size")]
    assert decoder.decode([huge] * 2).poison[1].error.reason == "size"


def test_streams_of_many_shapes_stay_bounded() -> None:
    decoder = Decoder()
    for i in range(1500):
        decoder.decode([record(extra=f',"k{i}":1')] * (4 if i % 8 == 0 else 1))
    assert len(decoder._library._shapes) <= decoder._library.SHAPES_MAX
    assert len(decoder._library._seen) <= decoder._library.SIGNATURES_MAX
    check([record(), record(extra=',"k5":1')], decoder.decode([record(), record(extra=',"k5":1')]))


any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(
    st.sampled_from(["result", "phenomenonTime", "resultTime", "longitude", "parameters", "Datastream", "x", "ü"]),
    any_json,
    max_size=6,
)
written = st.builds(
    lambda value, ascii, indent: json.dumps(value, ensure_ascii=ascii, indent=indent).encode("utf-8", "surrogatepass"),
    objects | any_json,
    st.booleans(),
    st.sampled_from([None, 1]),
)
mutated = st.builds(
    lambda value, at, piece, cut: value[: at % (len(value) + 1)] + piece + value[at % (len(value) + 1) + cut :],
    st.sampled_from(GOOD),
    st.integers(0, 400),
    st.sampled_from([b"", b'"', b"}", b",", b"{}", b"\\", b"\x00", b"1", b'"result":1,', b"\xc3", b" ", b"NaN"]),
    st.integers(0, 3),
)
numbers = st.builds(record, st.integers(-(2**66), 2**66) | st.floats(allow_nan=False, allow_infinity=False))
one_value = st.sampled_from(GOOD) | st.sampled_from(BAD[:-1]) | written | mutated | numbers


@settings(max_examples=150, deadline=None)
@given(st.lists(one_value, max_size=12), st.lists(one_value, max_size=12), st.integers(0, 5))
def test_interleaved_good_and_bad_values_come_out_as_if_alone(first, second, seed) -> None:
    """Twice through one decoder, each value repeated so that shapes are learned, in a random order."""
    decoder = warm(Decoder())
    for values in (first, second, first + second):
        many: list[bytes | None] = [value for value in values for _ in range(4)]
        random.Random(seed).shuffle(many)
        check(many, decoder.decode(many))
        warm(decoder)
        check(sorted(many), decoder.decode(sorted(many)))
