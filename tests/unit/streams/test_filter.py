"""The filter over whole batches: what passes, under which key and headers, and what becomes a dead letter."""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_fakes import OTHER, SOURCE, MemoryBatch, MemoryCatalogue, entity, spec, system_catalogue

from twinstack.core import limits, observations
from twinstack.core.errors import InvalidRecord, Unreachable
from twinstack.core.ids import observation_id
from twinstack.query import streamsql
from twinstack.streams.filter import Filter
from twinstack.streams.headers import parse_app, parse_source
from twinstack.streams.plan import make_plan
from twinstack.streams.view import Everything

KEYS = [f"{SOURCE}.Station_{n}.Quantity" for n in range(3)]
CATALOGUE = [entity(key, n) for n, key in enumerate(KEYS)]


class Time:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def make(text: str, catalogue: MemoryCatalogue | None = None, **changes: Any) -> Filter:
    known = catalogue or MemoryCatalogue(system_catalogue(*CATALOGUE))
    return make_plan(spec(text, **changes), known).operator()


def value(result: Any, number: int = 0, **more: Any) -> bytes:
    record = {"phenomenonTime": "2026-11-24T12:00:00Z", "result": result}
    return json.dumps({**record, "Datastream": {"@iot.id": number, "name": KEYS[number]}, **more}).encode()


def test_records_that_pass_are_forwarded_as_their_bytes() -> None:
    values = [value(n, n % 3) for n in range(10)]
    batch = MemoryBatch(values)
    output = make("SELECT * FROM * WHERE result < 4 AND name <> 'Station_1.Quantity';").process(batch)
    assert output.values == [values[n] for n in (0, 2, 3)]
    assert output.keys == [KEYS[n % 3].encode() for n in (0, 2, 3)]
    assert batch.headers_read == 3
    assert not output.letters


def test_claims_become_facts() -> None:
    ident, other = observation_id().encode(), observation_id().encode()
    claims: list[list[tuple[str, bytes]]] = [
        [("ts-id", ident), ("ts-id", other), ("ts-app", b"zzzzzzzzzz.9"), ("ts-grant", b"g"), ("x", b"y")],
        [("ts-meta", b"5"), ("ts-source", b"[]")],
        [("ts-id", b"not a UUID"), ("ts-meta", b"m" * 1000)],
        [],
    ]
    batch = MemoryBatch([value(1)] * 4, headers=claims)
    first, *others = (dict(h) for h in make("SELECT * FROM *;", revision=3).process(batch).headers)
    assert first == {
        "ts-id": ident,
        "ts-app": b"abcdefghij.3",
        "ts-source": b'[["%s","%s"]]' % (KEYS[0].encode(), ident),
    }
    assert parse_app(first["ts-app"]) == ("abcdefghij", 3)
    assert parse_source(first["ts-source"]) == [(KEYS[0], ident.decode())]
    assert [h.get("ts-meta") for h in others] == [b"5", None, None]
    derived = [h["ts-id"].decode() for h in others]
    assert [uuid.UUID(d).version for d in derived] == [5, 5, 5] and len(set(derived)) == 3
    again = make("SELECT * FROM *;", revision=3).process(batch)
    assert [dict(h)["ts-id"].decode() for h in again.headers[1:]] == derived, "the same after a replay"


def test_a_letter_has_the_raw_bytes_the_place_and_the_error() -> None:
    long = b'{"result":NaN,"x":"' + b"a" * limits.DEAD_LETTER_RAW_BYTES_MAX + b'"}'
    batch = MemoryBatch([value(1), b"{", long, value(2), None], [b"k"] * 5, [[("ts-id", b"i"), ("ts-dead", b"d")]] * 5)
    output = make("SELECT * FROM *;").process(batch)
    assert len(output.values) == 2
    places = [json.loads(dict(letter.headers)["ts-dead"]) for letter in output.letters]
    assert [(p["offset"], p["error"], p["revision"]) for p in places] == [
        (101, "json", 1),
        (102, "number", 1),
        (104, "empty", 1),
    ]
    assert [letter.value for letter in output.letters] == [b"{", long[: limits.DEAD_LETTER_RAW_BYTES_MAX], None]
    assert places[1]["bytes"] == len(long) and len(places[1]["sha256"]) == 64
    assert {letter.topic for letter in output.letters} == {"ts.abcdefghij.dead"}
    assert [h for h in output.letters[0].headers if h[0] == "ts-id"] == [("ts-id", b"i")]


def test_a_record_too_large_for_the_target_is_a_letter() -> None:
    big = value("a" * (limits.DERIVED_RECORD_BYTES_MAX - 1000))
    output = make("SELECT * FROM *;").process(MemoryBatch([value(1), big, value(2)]))
    assert len(output.values) == 2
    assert [json.loads(dict(x.headers)["ts-dead"])["error"] for x in output.letters] == ["size"]


def test_a_view_hides_rows_and_keeps_its_errors_to_itself() -> None:
    class Hidden(Everything):
        own = False
        columns = frozenset({"result"})
        headers = (("ts-grant", b"abc.1"),)

        def visible(self, columns: streamsql.Columns) -> Any:
            return np.array([n % 2 == 0 for n in range(columns.n)])

    plan = make_plan(spec("SELECT * FROM *;"), MemoryCatalogue(system_catalogue(*CATALOGUE)), views=lambda _: Hidden())
    values = [value(0), value(1), b"poison", value(3), value(4)]
    output = plan.operator().process(MemoryBatch(values))
    assert output.values == [values[0], values[4]]
    assert output.letters == []
    assert dict(output.headers[0])["ts-grant"] == b"abc.1"


TEXTS = [
    "result < 4",
    "result < 4 OR name = 'Station_1.Quantity'",
    "thing LIKE 'Station_%' AND result * 2 > longitude",
    "NOT (result = 1 XOR unit IS NULL)",
    "result / (result - 1) > 1 AND time > '2026-11-24T11:00:00Z'",
    "parameters.x = 'a' OR full_name IN ('a', 'b')",
]
results = st.integers(-3, 6) | st.floats(-5, 5) | st.booleans() | st.none() | st.sampled_from(["1", "ü", [1], {"a": 1}])
records = st.builds(
    value,
    results,
    st.integers(0, 2),
    longitude=st.sampled_from([1, 2.5, None, "x"]),
    parameters=st.sampled_from([{}, {"x": "a"}, {"x": 1}]),
) | st.sampled_from([b"", b"{}", b'{"result":1,"result":1}', b"\xff", b'{"result":NaN}'])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(TEXTS), st.lists(records, max_size=25), st.integers(0, 3))
def test_a_batch_is_judged_as_its_records_one_by_one(condition: str, values: list[bytes], seed: int) -> None:
    text = f"SELECT * FROM * WHERE {condition};"
    time = Time()
    known = MemoryCatalogue(system_catalogue(*CATALOGUE))
    operator = make_plan(spec(text), known).operator(clock=time, sleep=time.sleep)
    query = streamsql.check(streamsql.parse(text), streamsql.Catalogue())
    judge = streamsql.compile_row(query)
    random.Random(seed).shuffle(values)
    batch = MemoryBatch(values)
    expected, letters = [], 0
    for each in values:
        try:
            row = columns_of_row(observations.decode(each))
        except InvalidRecord:
            letters += 1
            continue
        if row is None:
            letters += 1
        elif judge(row) is True:
            expected.append(each)
    for _ in range(3):  # the shapes are learned meanwhile
        output = operator.process(batch)
        assert output.values == expected
        assert len(output.letters) == letters


def columns_of_row(record: dict[str, Any]) -> dict[str, Any] | None:
    name = record.get("Datastream", {}).get("name")
    if name not in KEYS:
        return None
    row = {**record, "full_name": name, "name": name.removeprefix(f"{SOURCE}."), "unit": None, "time": 1795521600000000}
    return row | {"thing": row["name"].split(".")[0], "parameters.x": record["parameters"].get("x")}


# The wait for a registration that races with the first record


def waiting(catalogue: MemoryCatalogue, time: Time) -> Filter:
    return make_plan(spec("SELECT * FROM *;"), catalogue).operator(clock=time, sleep=time.sleep)


def test_a_datastream_that_is_registered_a_moment_later_is_waited_for() -> None:
    time, known = Time(), system_catalogue(entity(KEYS[0], 0))
    catalogue = MemoryCatalogue(known, coming=[(known, entity(f"{SOURCE}.T.Other", 9)), (known, entity(KEYS[1], 1))])
    output = waiting(catalogue, time).process(MemoryBatch([value(1, 0), value(2, 1)]))
    assert len(output.values) == 2 and not output.letters
    assert time.now_s - 1_000 < limits.CATALOGUE_WAIT_MS / 1000


def test_an_unknown_datastream_stalls_an_app_for_a_moment_only() -> None:
    time, known = Time(), system_catalogue(entity(KEYS[0], 0))
    catalogue = MemoryCatalogue(known)
    operator = waiting(catalogue, time)
    first = operator.process(MemoryBatch([value(1, 0), value(2, 1)]))
    assert len(first.values) == 1 and len(first.letters) == 1
    waited = time.now_s
    assert 0 < waited - 1_000 <= limits.CATALOGUE_WAIT_MS / 1000 + 0.2
    for _ in range(5):
        assert len(operator.process(MemoryBatch([value(2, 1)])).letters) == 1
    assert time.now_s == waited, "no second wait at once"
    time.now_s += 1.5
    catalogue._coming.append((known, entity(KEYS[1], 1)))
    assert len(operator.process(MemoryBatch([value(2, 1)])).values) == 1, "but a look now and then"


def test_a_catalogue_that_does_not_answer_leaves_what_is_known() -> None:
    time, known = Time(), system_catalogue(*CATALOGUE)

    class Broken(MemoryCatalogue):
        def refresh(self) -> bool:
            raise Unreachable("No answer.")

    operator = waiting(Broken(known), time)
    time.now_s += 3600
    assert len(operator.process(MemoryBatch([value(1)])).values) == 1


def test_several_sources_each_have_their_own_datastreams() -> None:
    other_key = f"{OTHER}.Road.Quality"
    catalogue = MemoryCatalogue(system_catalogue(*CATALOGUE), system_catalogue(entity(other_key, 0), system=OTHER))
    operator = make(f"SELECT * FROM {SOURCE}, {OTHER} WHERE result > 0;", catalogue, sources=(SOURCE, OTHER))
    assert operator.topics == (f"{SOURCE}.int", f"{OTHER}.int")
    by_id = b'{"result":1,"Datastream":{"@iot.id":0}}'
    assert operator.process(MemoryBatch([by_id])).keys == [KEYS[0].encode()]
    assert operator.process(MemoryBatch([by_id], topic=f"{OTHER}.int")).keys == [other_key.encode()]


@pytest.mark.parametrize("text", ["SELECT * FROM * WHERE 1 = 2;", "SELECT * FROM * WHERE NULL;"])
def test_a_constant_condition_that_passes_nothing(text: str) -> None:
    output = make(text).process(MemoryBatch([value(1), b"{"]))
    assert not output.values and len(output.letters) == 1
