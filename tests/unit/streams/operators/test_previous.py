"""PREV against looking back through the log."""

from __future__ import annotations

from feeds import Feed, as_rows, feeds
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import Row

from twinstack.streams.operators.previous import PreviousRecord
from twinstack.streams.operators.seam import as_values

values = st.sampled_from([None, 0.0, 1.5, -2.25, 7, "a"])


@settings(max_examples=50, deadline=None)
@given(feeds(sides=1), st.data())
def test_previous_is_the_record_before_in_log_order(feed: Feed, data) -> None:
    """Each key lives in one partition; a record that is not earlier is no previous, and the next looks at it all the
    same."""
    value = {(row.source, row.offset): data.draw(values) for row in feed.side(0)}
    operator, state, last = PreviousRecord(), {}, {}
    for source, count in [*feed.turns, *((s, len(rows)) for s, (_, rows) in enumerate(feed.partitions))]:
        start = feed.read[source]
        part = [own(row) for row in feed.partitions[source][1][start : start + count]]
        feed.read[source] += len(part)
        got = operator.process(as_rows(0, part, value=as_values([value[r.source, r.offset] for r in part])))
        ids = got.values["id"].tolist() if part else []
        for row, valid, elapsed, ident, before in zip(
            part, got.valid.tolist(), got.elapsed_us.tolist(), ids, as_items(got.values.get("value")), strict=True
        ):
            known = last.get(row.key) if row.key is not None else None
            assert valid == (known is not None and known.time < row.time)
            if valid:
                assert elapsed == row.time - known.time and ident == f"0:{known.source}:{known.offset}"
                assert (type(before), before) == (type(v := value[known.source, known.offset]), v)
            else:
                assert (elapsed, ident, before) == (1, None, None)
            last[row.key] = row
        if data.draw(st.booleans()):
            commit(operator, state)
        if data.draw(st.booleans()):
            commit(operator, state)
            operator, before_rows = PreviousRecord(), operator.rows
            operator.restore(state)
            assert operator.rows == before_rows


def commit(operator: PreviousRecord, state: dict) -> None:
    for key, record in operator.changes().items():
        if record is None:
            del state[key]
        else:
            state[key] = record


def own(row: Row) -> Row:
    return row._replace(key=row.key and row.key + str(row.source).encode())


def as_items(column) -> list:
    return [] if column is None else [None if item != item else item for item in column.tolist()]
