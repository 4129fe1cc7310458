"""The writer: groups, failures inside a group, two processes' worth of writers, errors of the database."""

import random
import threading

import pytest
import sqlalchemy as sa
import store_bodies as b
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_bodies import rows

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, StorageFull, TimedOut, TwinstackError, Unavailable
from twinstack.core.names import DEFAULT_SYSTEM
from twinstack.sensorthings.model import OBSERVATION, THING
from twinstack.sensorthings.store import NewObservation, open_store, outbox, tables


@pytest.fixture
def filled(store, lab):
    store.create(THING, b.whole(), lab).result()
    return store


def hold(store):
    """Keeps the writer busy until the returned event is set, so that what follows becomes one group."""
    free, started = threading.Event(), threading.Event()

    def work(tx):
        started.set()
        free.wait(10)

    store.write(work)
    started.wait(10)
    return free


def commits(store):
    return len(store.outbox_read(outbox.shard_of(DEFAULT_SYSTEM), 0, 1000))


def test_what_waits_is_one_commit(filled):
    before = commits(filled)
    free = hold(filled)
    writes = [filled.insert_observations([NewObservation(1, i, float(i))]) for i in range(50)]
    free.set()
    assert [w.result() for w in writes] == [[i] for i in range(1, 51)]
    assert commits(filled) == before + 1


def test_an_unforeseen_failure_hits_only_its_own_request(filled):
    free = hold(filled)
    good = filled.insert_observations([NewObservation(1, 1, 1.0)])
    bad = filled.insert_observations([NewObservation(1, 2, 2.0, feature_id=2**70)])
    late = filled.insert_observations([NewObservation(1, 3, 3.0)])
    free.set()
    with pytest.raises(InvalidInput):
        bad.result()
    assert (len(good.result()), len(late.result())) == (1, 1)
    assert [o["result"] for o in rows(filled, tables.observation)] == [1.0, 3.0]
    assert rows(filled, tables.datastream_stat)[0]["n"] == 2


def test_a_failing_job_undoes_only_itself(filled, lab):
    def work(tx):
        tx.connection.execute(sa.insert(tables.store_info), {"key": "x", "value": "y"})
        tx.outgoing.meta.append((DEFAULT_SYSTEM, 1))
        raise RuntimeError("a bug")

    free = hold(filled)
    first = filled.create(THING, b.thing("a"), lab)
    broken = filled.write(work)
    second = filled.create(THING, b.thing("b"), lab)
    free.set()
    with pytest.raises(RuntimeError, match="a bug"):
        broken.result()
    assert (first.result().id, second.result().id) == (2, 3)
    assert rows(filled, tables.store_info, key="x") == []
    assert commits(filled) == 1


def test_ids_stay_unique_after_a_rollback_inside_a_group(filled):
    def work(tx):
        tx.observation_ids.take(tx.connection, 5)
        raise RuntimeError

    filled.write(work)
    ids = [filled.insert_observations([NewObservation(1, i, 1.0)] * 3).result() for i in range(5)]
    assert len({i for some in ids for i in some}) == 15


def test_a_closed_store_refuses(filled):
    filled.close()
    with pytest.raises(Unavailable, match="closed"):
        filled.insert_observations([NewObservation(1, 1, 1.0)])


def test_two_writers_on_one_store(filled):
    other = open_store(filled.url)
    found = []

    def run(store, seed):
        chance = random.Random(seed)
        for _ in range(15):
            n = chance.randint(1, 5)
            found.extend(store.insert_observations([NewObservation(1, i, 1.0) for i in range(n)]).result())

    threads = [threading.Thread(target=run, args=(store, i)) for i, store in enumerate([filled, other] * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert len(set(found)) == len(found) == rows(filled, tables.datastream_stat)[0]["n"]
    sequence = [seq for seq, _ in filled.outbox_read(outbox.shard_of(DEFAULT_SYSTEM), 0, 1000)]
    assert sequence == list(range(1, len(sequence) + 1))


class TestVendorErrors:
    """No error of SQLite or SQLAlchemy leaves the store."""

    def test_a_lock_that_does_not_end(self, filled, monkeypatch):
        monkeypatch.setattr(limits, "STORE_BUSY_MS_MAX", 50)
        other = open_store(filled.url)
        free = hold(filled)
        with pytest.raises(TimedOut, match="busy"):
            other.insert_observations([NewObservation(1, 1, 1.0)]).result()
        free.set()
        assert other.insert_observations([NewObservation(1, 1, 1.0)]).result()
        other.close()

    def test_a_full_disk(self, sqlite_url, lab):
        filled = open_store(sqlite_url)
        filled.create(THING, b.whole(), lab).result()

        def limit(tx):
            pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")

        filled.write(limit).result()
        with pytest.raises(StorageFull):
            for _ in range(50):
                filled.insert_observations([NewObservation(1, i, "x" * 500) for i in range(100)]).result()
        stored = rows(filled, tables.datastream_stat)[0]["n"]
        assert stored == len(rows(filled, tables.observation))
        assert filled.insert_observations([NewObservation(1, 1, 1.0)]).result()  # a new connection has no such limit
        filled.close()

    def test_a_file_that_is_no_database(self, tmp_path):
        (tmp_path / "x.sqlite").write_bytes(b"no database at all" * 100)
        broken = open_store(f"sqlite:{tmp_path / 'x.sqlite'}")
        with pytest.raises(Unavailable):
            broken.migrate()
        with pytest.raises(TwinstackError):
            broken.systems()
        broken.close()

    def test_a_store_without_tables(self, tmp_path):
        empty = open_store(f"sqlite:{tmp_path / 'x.sqlite'}")
        with pytest.raises(Unavailable):
            empty.systems()
        with pytest.raises(Unavailable):
            empty.create_system("cz.icecars.a.b").result()
        empty.close()


def brute_force(store):
    o = tables.observation.c
    with store.reader() as connection:
        found = connection.execute(sa.select(o.id, o.t.label("start"), o.t_end, o.result_time)).all()
    if not found:
        return (0, None, None, None, None, None)
    ends = [r.start if r.t_end is None else r.t_end for r in found]
    times = [r.result_time for r in found if r.result_time is not None]
    latest = min(found, key=lambda r: (-r.start, r.id)).id
    return (
        len(found),
        min(r.start for r in found),
        max(ends),
        min(times, default=None),
        max(times, default=None),
        latest,
    )


steps = st.lists(
    st.tuples(
        st.sampled_from(["insert", "insert", "patch", "delete"]),
        st.integers(0, 6),
        st.integers(0, 3),
        st.none() | st.integers(0, 5),
        st.integers(0, 9),
    ),
    max_size=14,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_aggregates_are_what_the_rows_say(filled, lab, steps):
    filled.write(_clear).result()
    live = []
    for what, t, length, result_time, pick in steps:
        end = t + length if length else None
        if what == "insert":
            live += filled.insert_observations([NewObservation(1, t, 1.0, end, result_time)]).result()
        elif live and what == "delete":
            filled.delete(OBSERVATION, live.pop(pick % len(live)), lab).result()
        elif live:
            body = {
                "phenomenonTime": _iso(t) if end is None else f"{_iso(t)}/{_iso(end)}",
                "resultTime": None if result_time is None else _iso(result_time),
            }
            filled.update(OBSERVATION, live[pick % len(live)], body, lab).result()
        (s,) = rows(filled, tables.datastream_stat)
        stat = tuple(s[k] for k in ("n", "t_min", "t_max", "r_min", "r_max", "latest_id"))
        assert stat == brute_force(filled)


def _iso(us):
    return f"1970-01-01T00:00:00.{us:06d}Z"


def _clear(tx):
    tx.connection.execute(sa.delete(tables.observation))
    tx.connection.execute(
        sa.update(tables.datastream_stat).values(
            n=0, t_min=None, t_max=None, r_min=None, r_max=None, latest_id=None, latest_t=None
        )
    )
