"""From text to plan: sources, errors with a place, columns of attributes; the spec and the table of states."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from stream_fakes import OTHER, SOURCE, TARGET, MemoryCatalogue, entity, spec, system_catalogue

from twinstack.core.errors import Conflict, InvalidInput, QueryError
from twinstack.streams.plan import Plan, make_plan
from twinstack.streams.spec import AppSpec
from twinstack.streams.states import TRANSITIONS, State

KEY = f"{SOURCE}.Station_1.Air Temperature"


def plan(text: str, **changes: object) -> Plan:
    return make_plan(spec(text, **changes), MemoryCatalogue(system_catalogue(entity(KEY, 1))))


def test_star_is_every_source_systems_own_data() -> None:
    assert plan("SELECT * FROM *;", sources=(SOURCE, OTHER)).topics == (f"{SOURCE}.int", f"{OTHER}.int")


def test_a_name_without_suffix_means_int_and_a_topic_is_read_once() -> None:
    assert plan(f"SELECT * FROM {SOURCE}, {SOURCE}.ext, {SOURCE};").topics == (f"{SOURCE}.int", f"{SOURCE}.ext")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"SELECT * FROM {OTHER};", "no source of this app"),
        (f"SELECT * FROM {TARGET}.ext;", "no source of this app"),
        ("SELECT * FROM a.b;", "is not a system"),
        ("SELECT * FROM * WHERE bad_Name = 'x';", "bad_Name"),
        ("SELECT * FROM * WHERE (result < 30)))) AND result > 4);", r"\)"),
    ],
)
def test_what_does_not_compile_says_where(text: str, told: str) -> None:
    with pytest.raises(QueryError, match=told) as caught:
        plan(text)
    assert caught.value.line == 1 and caught.value.caret


def test_an_app_never_reads_what_it_writes() -> None:
    with pytest.raises(QueryError, match="its own output"):
        plan(f"SELECT * FROM {TARGET}.ext;", sources=(TARGET,))
    assert plan(f"SELECT * FROM {TARGET};", sources=(TARGET,)).topics == (f"{TARGET}.int",)


def test_attributes_of_the_last_records_are_columns() -> None:
    asked: list[Sequence[str]] = []

    def attributes(topics: Sequence[str]) -> list[str]:
        asked.append(topics)
        return ["speed"]

    known = MemoryCatalogue(system_catalogue(entity(KEY, 1)))
    assert make_plan(spec("SELECT * FROM * WHERE result < 1;"), known, attributes=attributes).checked.columns
    assert not asked
    made = make_plan(spec("SELECT * FROM * WHERE speed < 1;"), known, attributes=attributes)
    assert made.checked.columns == {"speed"} and asked == [[f"{SOURCE}.int"]]
    assert make_plan(spec("SELECT * FROM * WHERE speed < 1;"), MemoryCatalogue(), attributes=attributes)
    with pytest.raises(QueryError):
        make_plan(spec("SELECT * FROM * WHERE spede < 1;"), known, attributes=attributes)


def test_whether_a_plan_must_know_the_datastream() -> None:
    assert plan("SELECT * FROM * WHERE unit = 'degC';").reads_metadata
    assert not plan("SELECT * FROM * WHERE result < 1;").reads_metadata


def test_the_fingerprint_follows_what_the_app_does() -> None:
    one = plan("SELECT * FROM * WHERE result < 1;")
    assert one.fingerprint == plan("SELECT * FROM * WHERE result < 1; ", revision=2).fingerprint
    assert one.fingerprint != plan("SELECT * FROM * WHERE result < 2;").fingerprint


def test_a_spec_survives_json() -> None:
    made = spec("SELECT * FROM *;", revision=4, start="earliest", shard=1, shards=2)
    assert AppSpec.from_json(made.to_json()) == made
    assert (made.group, made.transactional_id, made.dead_topic) == (
        "ts.abcdefghij.4",
        "ts.abcdefghij.0.1",
        "ts.abcdefghij.dead",
    )


@pytest.mark.parametrize(
    "changes", [{"uid": "A"}, {"sources": ()}, {"revision": 0}, {"shard": 1}, {"commit_interval_ms": 0}]
)
def test_a_spec_that_cannot_be(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        spec("SELECT * FROM *;", **changes)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"uid": 5}', '{"uid": "x"'])
def test_text_that_is_no_spec(text: str) -> None:
    with pytest.raises(InvalidInput):
        AppSpec.from_json(text)


@pytest.mark.parametrize("name", TRANSITIONS)
def test_states_follow_the_table_alone(name: str) -> None:
    for wanted in TRANSITIONS:
        state = State()
        state.name = name
        if wanted in TRANSITIONS[name]:
            state.to(wanted)
            assert state.name == wanted
        else:
            with pytest.raises(Conflict) as caught:
                state.to(wanted)
            assert caught.value.fields["allowed"] == sorted(TRANSITIONS[name])
