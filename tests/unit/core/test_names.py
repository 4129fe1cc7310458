from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinstack.core import names
from twinstack.core.errors import InvalidName
from twinstack.log.partitioner import murmur2, partition_for

CAR1 = "cz.icecars.iot4cps-wp5-CarFleet.Car1"


def test_a_system_has_four_levels_and_four_topics() -> None:
    system = names.parse_system(CAR1)
    assert str(system) == CAR1
    assert system.company == "cz.icecars"
    assert system.topics == (f"{CAR1}.int", f"{CAR1}.ext", f"{CAR1}.log", f"{CAR1}.meta")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cz.icecars.CarFleet", "3 levels"),
        ("cz.icecars.CarFleet.Car1.x", "5 levels"),
        ("cz.ice cars.CarFleet.Car1", "a blank"),
        ("cz..CarFleet.Car1", "enterprise is empty"),
        ("czech.icecars.CarFleet.Car1", "at most 4"),
        ("cz.icecars7890123456.CarFleet.Car1", "at most 15"),
        ("cz.icecars." + "w" * 31 + ".Car1", "at most 30"),
        ("cz.icecars.CarFleet." + "s" * 21, "at most 20"),
        ("cz.icecars.CarFleet.Cär1", "'ä'"),
        ("ts.icecars.CarFleet.Car1", "reserved domain"),
        ("", "1 level"),
    ],
)
def test_a_bad_system_says_which_level_is_wrong(text: str, said: str) -> None:
    with pytest.raises(InvalidName) as caught:
        names.parse_system(text)
    assert said in str(caught.value)
    assert caught.value.fix


def test_the_default_system_is_allowed_although_its_domain_is_reserved() -> None:
    assert names.parse_system(names.DEFAULT_SYSTEM).company == "lab.open"


def test_systems_collide_as_kafka_topics_do() -> None:
    assert names.collision_key("cz.ice_cars.A.B") == names.collision_key("CZ.ice.cars.a.b")


def test_names_are_qualified_once() -> None:
    once = names.datastream_name(CAR1, "Car1", "Air Temperature")
    assert once == f"{CAR1}.Car1.Air Temperature"
    assert names.datastream_name(CAR1, f"{CAR1}.Car1", once) == once
    assert names.datastream_name(CAR1, "Car1", f"{CAR1}.Air Temperature") == once
    assert names.system_of(once) == CAR1
    assert names.system_of("a name.that is.no.system") is None


@given(st.text("abcXYZ0-_", min_size=1, max_size=12), st.text(min_size=1, max_size=30))
def test_qualifying_twice_changes_nothing(thing: str, name: str) -> None:
    once = names.datastream_name(CAR1, thing, name)
    assert names.datastream_name(CAR1, names.qualify(CAR1, thing), once) == once


def test_topics_are_split_into_system_and_suffix() -> None:
    assert names.split_topic(f"{CAR1}.ext") == (CAR1, "ext")
    assert names.split_topic("ts.outbox") is None
    assert names.split_topic("a.b.int") is None


@pytest.mark.parametrize("topic", ["", ".", "..", "a b", "a/b", "x" * 250, "ä"])
def test_bad_topics_are_refused(topic: str) -> None:
    with pytest.raises(InvalidName):
        names.check_topic(topic)


@pytest.mark.parametrize(
    ("data", "expected"),  # from Kafka's own UtilsTest.testMurmur2
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_javas(data: bytes, expected: int) -> None:
    signed = murmur2(data) - (1 << 32) if murmur2(data) >= 1 << 31 else murmur2(data)
    assert signed == expected
    assert 0 <= partition_for(data, 3) < 3
