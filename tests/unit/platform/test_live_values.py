from __future__ import annotations

from twinstack.platform.live import Rate, _last_of_each, _shown


def test_the_last_record_of_each_key_is_looked_at() -> None:
    assert _last_of_each([b"a", b"b", b"a", b"c", b"b"]) == [2, 3, 4]


def test_keys_that_are_no_datastreams_name_may_hide_several() -> None:
    assert _last_of_each([b'{"thing":1}', b"a", b'{"thing":1}', None]) == [0, 1, 2, 3]
    assert len(_last_of_each([None] * 5_000)) == 100


def test_a_rate_is_over_the_last_minute() -> None:
    rate = Rate(now_s=0.0)
    assert rate.per_s(0.0) == 0
    rate.add(10, 1.0)
    rate.add(10, 1.5)
    assert rate.per_s(10.0) == 2.0
    assert rate.per_s(60.0) == 20 / 60
    assert rate.per_s(62.0) == 0
    for second in range(100, 300):
        rate.add(5, second)
    assert rate.per_s(299.5) == 5.0


def test_long_results_are_cut_and_numbers_stay() -> None:
    assert _shown(3.25) == 3.25
    assert _shown(True) is True
    assert _shown(None) is None
    assert _shown({"a": [1]}) == '{"a": [1]}'
    assert len(_shown("x" * 1000)) == 200
