"""The packed batch: what goes in comes out; what is malformed is refused by one error and costs nothing."""

from __future__ import annotations

import struct

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from twinstack.core.errors import InvalidInput, RecordTooLarge
from twinstack.core.limits import LOG_COMMIT_BYTES_MAX, RECORD_KEY_BYTES_MAX
from twinstack.log.packed.batch import PackedBatch
from twinstack.log.packed.format import ZSTD, Columns, head, pack, verify

MAX = 1 << 20
optional_bytes = st.none() | st.binary(max_size=20)
header_list = st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=3).map(tuple)
records = st.lists(
    st.tuples(optional_bytes, optional_bytes, header_list, st.integers(0, 1 << 45)), min_size=1, max_size=300
)


@given(records)
def test_what_goes_in_comes_out(rows: list) -> None:
    values, keys, headers, times = (list(column) for column in zip(*rows, strict=True))
    blob = pack(values, keys, headers, times)
    columns = Columns(blob)
    assert columns.values == values
    assert columns.keys == keys
    assert columns.headers == headers
    assert columns.timestamps_ms == times
    assert list(columns.offsets) == list(range(len(rows)))
    found = verify(blob, MAX)
    assert (found.records, found.newest_ms) == (len(rows), max(times))


@given(st.lists(optional_bytes, min_size=1, max_size=50), st.binary(max_size=9), st.integers(0, 1 << 45))
def test_one_key_and_one_time_for_all(values: list, key: bytes, when: int) -> None:
    columns = Columns(pack(values, key, None, when))
    assert columns.keys == [key] * len(values)
    assert columns.timestamps_ms == [when] * len(values)
    assert columns.headers == [()] * len(values)


def test_what_is_absent_takes_no_room() -> None:
    values = [b"v"] * 50
    assert len(pack(values, [None] * 50, [()] * 50, [7] * 50)) == len(pack(values))
    assert head(pack(values, [None] * 50)).sizes[1:] == (0, 0, 0, 0)


def test_compressed_from_about_a_hundred_records() -> None:
    assert not head(pack([b"x" * 50] * 99)).flags & ZSTD
    large = pack([b"x" * 50] * 100)
    assert head(large).flags & ZSTD
    assert len(large) < 500
    assert Columns(large).values == [b"x" * 50] * 100


@pytest.mark.parametrize(
    "columns",
    [
        {"values": ["text"]},
        {"values": [b"v"], "keys": ["text"]},
        {"values": [b"v"], "keys": [5]},
        {"values": [b"v"], "headers": [[("a", "text")]]},
        {"values": [b"v"], "headers": [[(b"a", b"")]]},
        {"values": [b"v"], "headers": [[("a",)]]},
        {"values": [b"v"], "headers": [[("\ud800", b"")]]},
        {"values": [b"v"], "timestamps_ms": [1 << 70]},
        {"values": [b"v", b"w"], "timestamps_ms": ["now", "then"]},
    ],
)
def test_what_is_not_a_record_is_refused_when_packed(columns: dict) -> None:
    with pytest.raises(InvalidInput):
        pack(**columns)


GOOD = pack([b"one", None, b"three"], [b"k", None, b""], [(), (("h", b"1"),), ()], [3, 5, 4])
GOOD_ZSTD = pack([b"value %d" % n for n in range(200)], [b"k%d" % (n % 9) for n in range(200)], None, list(range(200)))


@settings(max_examples=400)
@given(st.sampled_from([GOOD, GOOD_ZSTD]), st.data())
def test_damage_is_refused_or_harmless(blob: bytes, data: st.DataObject) -> None:
    """Whatever passes `verify` can be read in every column without an error."""
    damaged = bytearray(blob)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(blob)))
    candidate = bytes(damaged[:end]) if data.draw(st.booleans()) else bytes(damaged)
    try:
        verify(candidate, MAX)
    except (InvalidInput, RecordTooLarge):
        return
    columns = Columns(candidate)
    lengths = {len(c) for c in (columns.values, columns.keys, columns.headers, columns.timestamps_ms, columns.offsets)}
    assert lengths == {columns.head.records}


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(InvalidInput):
        verify(noise, MAX)


def _crafted(records: int, raw: bytes, sizes: tuple[int, int, int, int, int], flags: int = ZSTD) -> bytes:
    body = zstandard.ZstdCompressor().compress(raw) if flags & ZSTD else raw
    return struct.pack("<BBHIq5I", 1, flags, 0, records, 0, *sizes) + body


def test_a_bomb_is_refused_before_it_is_inflated() -> None:
    raw = b"\xc0" * (LOG_COMMIT_BYTES_MAX + 1)
    for claimed in (LOG_COMMIT_BYTES_MAX + 1, 100):
        with pytest.raises(InvalidInput):
            verify(_crafted(100, raw, (claimed, 0, 0, 0, 0)), MAX)


def test_a_count_beyond_all_columns_is_refused() -> None:
    values = msgspec.msgpack.encode([b"v"])
    for records in (0, 2, 1 << 31):
        with pytest.raises(InvalidInput):
            verify(_crafted(records, values, (len(values), 0, 0, 0, 0), 0), MAX)


def test_a_stranger_cannot_leave_gaps_or_lie_about_time() -> None:
    with pytest.raises(InvalidInput, match="gaps"):
        verify(pack([b"a", b"b"], None, None, 5, [0, 7]), MAX)
    lie = bytearray(GOOD)
    struct.pack_into("<q", lie, 8, 999)
    with pytest.raises(InvalidInput, match="timestamps"):
        verify(bytes(lie), MAX)
    with pytest.raises(InvalidInput, match="timestamps"):
        verify(pack([b"a"], None, None, -1), MAX)


def test_limits_of_a_record() -> None:
    verify(pack([b"x" * 100]), 100)
    for blob in (
        pack([b"", b"x" * 101]),
        pack([b"x" * 101] * 200),
        pack([b""], [b"k" * (RECORD_KEY_BYTES_MAX + 1)]),
        pack([b""], None, [[("h", b"")] * 33]),
        pack([b""], None, [[("h", b"x" * 200_000)]]),
    ):
        with pytest.raises(RecordTooLarge):
            verify(blob, 100)


@given(st.integers(1, 60), st.data())
def test_windows_of_a_batch(count: int, data: st.DataObject) -> None:
    """Splitting and skipping in any order gives every record once; gaps in offsets included."""
    steps = data.draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    offsets = [sum(steps[: index + 1]) - steps[0] for index in range(count)]
    span = offsets[-1] + data.draw(st.integers(1, 3))
    values = [b"%d" % offset for offset in offsets]
    dense = offsets == list(range(count))
    batch = PackedBatch("t", 0, 1000, span, Columns(pack(values, None, None, 7, None if dense else offsets)))
    start = data.draw(st.integers(990, 1000 + span))
    rest = batch.since(start)
    assert rest.offsets == [1000 + offset for offset in offsets if 1000 + offset >= start]
    seen: list[int] = []
    position = start
    while len(rest):
        first, rest = rest.split(data.draw(st.integers(1, len(rest))))
        assert first.offsets[0] >= position
        seen += first.offsets
        position = first.next_offset
        assert [int(value) + 1000 for value in first.values] == first.offsets
    assert seen == [1000 + offset for offset in offsets if 1000 + offset >= start]
    assert not seen or position == 1000 + span


def test_a_batch_is_no_larger_than_a_reader_can_pass_on() -> None:
    value = b"x" * (1 << 20)
    verify(pack([value] * 19), 1 << 20)
    with pytest.raises(RecordTooLarge, match="batch"):
        verify(pack([value] * 21), 1 << 20)
