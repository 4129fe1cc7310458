"""Keyset pages against plain sorting, for all mixtures of directions and nulls."""

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from twinstack.core.errors import InvalidInput
from twinstack.sensorthings.keyset import Key, Signer, behind, parameter

TABLE = sa.table("t", sa.column("a", sa.Integer), sa.column("b", sa.Integer), sa.column("id", sa.Integer))
SMALL = st.one_of(st.none(), st.integers(0, 2))


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(SMALL, SMALL), max_size=9),
    directions=st.tuples(st.booleans(), st.booleans()),
    page=st.integers(1, 4),
)
def test_pages_together_are_the_sorted_rows(rows, directions, page):
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a INTEGER, b INTEGER, id INTEGER PRIMARY KEY)")
        for row in rows:
            connection.exec_driver_sql("INSERT INTO t (a, b) VALUES (?, ?)", row)
        keys = [Key(TABLE.c.a, directions[0]), Key(TABLE.c.b, directions[1]), Key(TABLE.c.id, nullable=False)]
        query = sa.select(TABLE).order_by(*(key.order() for key in keys)).limit(page)
        found, last = [], None
        while True:
            part = query if last is None else query.where(behind(keys, tuple(v is None for v in last)))
            values = {} if last is None else {parameter(n): v for n, v in enumerate(last) if v is not None}
            batch = [tuple(row) for row in connection.execute(part, values)]
            if not batch:
                break
            found += batch
            last = batch[-1]
    numbered = [(a, b, n + 1) for n, (a, b) in enumerate(rows)]

    def rank(value, descending):
        low = (0, 0) if value is None else (1, value)
        return (-low[0], -low[1]) if descending else low

    assert found == sorted(numbered, key=lambda r: (rank(r[0], directions[0]), rank(r[1], directions[1]), r[2]))


def test_tokens_are_bound_to_store_and_query():
    signer = Signer(b"one")
    token = signer.token("Things\0name", ["ä", None, 1.5, 7])
    assert signer.values("Things\0name", token, 4) == ["ä", None, 1.5, 7]
    for bad in (
        lambda: signer.values("Things\0", token, 4),
        lambda: signer.values("Things\0name", token, 3),
        lambda: Signer(b"two").values("Things\0name", token, 4),
        lambda: signer.values("Things\0name", token[:-4] + "AAAA", 4),
        lambda: signer.values("Things\0name", "", 4),
        lambda: signer.values("Things\0name", "ä", 4),
        lambda: signer.values("Things\0name", "A" * 100_000, 4),
    ):
        with pytest.raises(InvalidInput):
            bad()
