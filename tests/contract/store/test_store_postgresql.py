"""What only PostgreSQL has: partitions, writers in several processes, roles, its own errors."""

import json
import random
import threading

import psycopg
import pytest
import sqlalchemy as sa
import store_bodies as b
from store_bodies import rows

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, SettingsError, StorageFull, TimedOut, TwinstackError, Unavailable
from twinstack.core.names import DEFAULT_SYSTEM
from twinstack.sensorthings.connections import Readers
from twinstack.sensorthings.model import DATASTREAM, FEATURE, OBSERVATION, THING
from twinstack.sensorthings.plan import compile_sql
from twinstack.sensorthings.store import (
    NewObservation,
    WriteContext,
    fastpath,
    observations,
    open_store,
    outbox,
    setup,
    tables,
)

pytestmark = pytest.mark.postgres
LAB = WriteContext(lab=True)


@pytest.fixture
def url(postgres_server, postgres_store):
    postgres_server.empty(postgres_store)
    return postgres_server.url(postgres_store)


@pytest.fixture
def filled(url):
    store = open_store(url)
    store.create(THING, b.whole(), LAB).result()
    yield store
    store.close()


def raising(code):
    return lambda tx: tx.connection.exec_driver_sql(f"DO $$ BEGIN RAISE 'of the test' USING ERRCODE = '{code}'; END $$")


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "error"),
        [
            ("53100", StorageFull),
            ("55P03", TimedOut),
            ("40P01", TimedOut),
            ("57014", TimedOut),
            ("22003", InvalidInput),
            ("08006", Unavailable),
        ],
    )
    def test_codes_are_errors_of_the_project(self, filled, code, error):
        with pytest.raises(error) as raised:
            filled.write(raising(code)).result()
        assert type(raised.value) is error
        assert filled.insert_observations([NewObservation(1, 1, 1.0)]).result()

    def test_a_deadlock_is_repeated(self, filled):
        attempts = []

        def work(tx):
            attempts.append(1)
            if len(attempts) < limits.STORE_ATTEMPTS_MAX:
                raising("40P01")(tx)
            return "done"

        assert filled.write(work).result() == "done"

    def test_a_server_that_is_not_there(self, tmp_path):
        store = open_store(f"postgresql://nobody@/nothing?host={tmp_path}")
        with pytest.raises(Unavailable):
            store.migrate()
        store.close()

    @pytest.mark.parametrize("url", ["postgresql://host", "postgresql://u:secret@host:port/x"])
    def test_a_wrong_url_is_refused_without_its_password(self, url):
        with pytest.raises(SettingsError) as raised:
            open_store(url)
        assert "secret" not in str(raised.value)

    def test_a_query_that_takes_too_long_and_one_that_is_left(self, filled, monkeypatch):
        monkeypatch.setattr(limits, "STATEMENT_TIMEOUT_MS", 200)
        readers = Readers(filled.engine)
        sleep = compile_sql(sa.select(sa.func.pg_sleep(30)), filled.engine.dialect)
        with pytest.raises(TimedOut):
            readers.here(lambda session: session.rows(sleep, {}))
        monkeypatch.setattr(limits, "STATEMENT_TIMEOUT_MS", 60_000)

        def left(session):
            threading.Timer(0.2, session.interrupt).start()
            return session.rows(sleep, {})

        slow = Readers(filled.engine)
        with pytest.raises(TimedOut):
            slow.here(left)
        one = compile_sql(sa.select(sa.literal(1)), filled.engine.dialect)
        assert slow.here(lambda session: session.rows(one, {})) == [(1,)]
        readers.close()
        slow.close()

    def test_a_reader_comes_back_after_its_connection_broke(self, filled, postgres_server):
        readers = Readers(filled.engine)
        who = compile_sql(sa.select(sa.func.pg_backend_pid()), filled.engine.dialect)
        ((pid,),) = readers.here(lambda session: session.rows(who, {}))
        postgres_server.run(f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(Unavailable):
            readers.here(lambda session: session.rows(who, {}))
        assert readers.here(lambda session: session.rows(who, {})) != [(pid,)]
        readers.close()


class TestPartitions:
    def test_they_are_made_ahead_of_the_ids(self, url, postgres_server, postgres_store, monkeypatch):
        monkeypatch.setattr(limits, "ID_BLOCK", 100)
        monkeypatch.setattr(limits, "OBSERVATION_CHUNK_IDS", 2**24)
        store = open_store(url)
        store.create(THING, b.whole(), LAB).result()
        edge = 2**24
        store.write(
            lambda tx: tx.connection.execute(tables.id_block.insert().values(name="observation", next_id=edge - 1))
        ).result()
        ids = store.insert_observations([NewObservation(1, i, float(i)) for i in range(4)]).result()
        assert ids == [edge - 1, edge, edge + 1, edge + 2]
        parts = postgres_server.run(
            "SELECT tableoid::regclass::text, count(*) FROM observation GROUP BY 1", postgres_store
        )
        assert sorted(parts) == [("observation_000000", 1), ("observation_000001", 3)]
        chunks = rows(store, tables.observation_chunk)
        assert chunks[-1]["hi"] >= 3 * edge
        plan = "EXPLAIN SELECT id FROM observation ORDER BY id LIMIT 5"
        assert "Append" in postgres_server.run(plan, postgres_store)[1][0]
        store.close()

    def test_the_view_shows_timestamps(self, filled, postgres_server, postgres_store):
        filled.insert_observations([NewObservation(1, 1_767_225_600_000_000, 2.5)]).result()
        query = "SELECT phenomenon_time AT TIME ZONE 'UTC', result FROM observation_ts"
        ((when, result),) = postgres_server.run(query, postgres_store)
        assert (when.isoformat(), result) == ("2026-01-01T00:00:00", 2.5)


class TestSeveralWriters:
    def test_deletes_against_inserts(self, url, filled):
        """Two writers insert into, and two delete, the same Datastreams and features: nothing is left behind, and no
        deadlock reaches anybody."""
        for name in ("b", "c", "d"):
            filled.create(THING, b.whole(name), LAB).result()
        stores = [open_store(url) for _ in range(4)]
        unexpected = []

        def insert(store, seed):
            chance = random.Random(seed)
            for _ in range(40):
                some = [NewObservation(chance.randint(1, 4), chance.randint(0, 9), 1.0) for _ in range(5)]
                attempt(lambda some=some: store.insert_observations(some, partial=True).result())

        def attempt(what):
            try:
                what()
            except TwinstackError as error:
                if error.http_status not in (400, 404):
                    unexpected.append(error)

        def delete(store, first):
            for entity, number in (
                (OBSERVATION, first),
                (FEATURE, 1),
                (DATASTREAM, first),
                (FEATURE, 2),
                (DATASTREAM, 4),
            ):
                attempt(lambda entity=entity, number=number: store.delete(entity, number, LAB).result())

        threads = [
            threading.Thread(target=target, args=(store, n))
            for n, (store, target) in enumerate(zip(stores, (insert, insert, delete, delete), strict=True))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for store in stores:
            store.close()
        assert unexpected == []
        stats = {s["datastream_id"]: s["n"] for s in rows(filled, tables.datastream_stat)}
        counted = dict.fromkeys(stats, 0)
        for row in rows(filled, tables.observation):
            counted[row["datastream_id"]] += 1  # KeyError: a row of a deleted Datastream
        assert counted == stats
        sequence = [seq for seq, _ in filled.outbox_read(outbox.shard_of(DEFAULT_SYSTEM), 0, 1000)]
        assert sequence == list(range(1, len(sequence) + 1))

    def test_parallel_first_observations_make_one_feature(self, url, filled):
        stores = [open_store(url) for _ in range(6)]
        writes = [store.insert_observations([NewObservation(1, n, 1.0)]) for n, store in enumerate(stores * 2)]
        assert len({write.result()[0] for write in writes}) == 12
        assert len(rows(filled, tables.feature)) == 1
        for store in stores:
            store.close()


VALUES = [1.5, 7, 2**53 + 1, True, None, "text", {"a": [1, None]}, -0.25, 10**400, "25"]


class TestHotPath:
    def test_it_stores_what_the_slow_way_stores(self, filled, monkeypatch):
        """Rows, counters and the log's records of the same Observations, one Datastream filled by each way."""
        filled.create(THING, b.whole("other"), LAB).result()
        for datastream_id in (1, 2):  # the first Observation makes the feature, on the slow way
            filled.insert_observations([NewObservation(datastream_id, 5, 0.5)]).result()
        calls = []
        call = fastpath.FastPath._call
        monkeypatch.setattr(fastpath.FastPath, "_call", lambda self, given: calls.append(1) or call(self, given))
        chance = random.Random(7)
        for _ in range(30):
            rows_ = []
            for _ in range(chance.randint(1, 6)):
                t = chance.randint(-9, 9)
                end = t + chance.randint(0, 5) if chance.random() < 0.3 else None
                result_time = chance.randint(0, 9) if chance.random() < 0.5 else None
                extra = {"parameters": {"p": t}} if chance.random() < 0.2 else None
                rows_.append((t, chance.choice(VALUES), end, result_time, None, extra))
            filled.insert_observations([NewObservation(1, *row) for row in rows_]).result()
            slow = [NewObservation(2, *row) for row in rows_]
            filled.write(lambda tx, slow=slow: observations.insert_requests(tx, [(slow, False)]), locks=[2]).result()
        assert len(calls) == 30
        by_stream = {1: [], 2: []}
        for row in rows(filled, tables.observation):
            kept = {k: v for k, v in row.items() if k not in ("id", "datastream_id", "feature_id")}
            by_stream[row["datastream_id"]].append(kept)
        assert by_stream[1] == by_stream[2] and len(by_stream[1]) > 60
        first, second = ({k: v for k, v in s.items() if "id" not in k} for s in rows(filled, tables.datastream_stat))
        assert first == second
        o, s = tables.observation.c, tables.datastream_stat.c
        with filled.reader() as connection:
            for datastream_id in (1, 2):
                newest = sa.select(o.id).where(o.datastream_id == datastream_id).order_by(o.t.desc(), o.id).limit(1)
                latest = sa.select(s.latest_id).where(s.datastream_id == datastream_id)
                assert connection.execute(newest).scalar() == connection.execute(latest).scalar()
        sent = {1: [], 2: []}
        for _, payload in filled.outbox_read(outbox.shard_of(DEFAULT_SYSTEM), 0, 1000):
            for value in map(json.loads, payload.values):
                sent[value.pop("Datastream")["@iot.id"]].append(value)
        assert sent[1] == sent[2]

    def test_what_is_renamed_meanwhile_goes_the_slow_way(self, filled, url):
        filled.insert_observations([NewObservation(1, 1, 1.0)]).result()
        filled.insert_observations([NewObservation(1, 2, 1.0)]).result()
        other = open_store(url)
        other.update(DATASTREAM, 1, {"name": "renamed"}, LAB).result()
        other.close()
        assert filled.insert_observations([NewObservation(1, 3, 1.0)]).result() == [3]

    def test_a_server_that_restarts_between_two_writes(self, filled, postgres_server):
        for t in (1, 2):
            filled.insert_observations([NewObservation(1, t, 1.0)]).result()
        ends = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'twinstack%'"
        postgres_server.run(ends)
        outcomes = []
        for t in range(3, 7):
            try:
                outcomes += filled.insert_observations([NewObservation(1, t, 1.0)]).result()
            except Unavailable:
                continue
        assert len(outcomes) >= 2  # each of the two connections may be found broken once
        assert rows(filled, tables.datastream_stat)[0]["n"] == len(rows(filled, tables.observation))


class TestSetup:
    def test_role_and_database_are_made_once(self, postgres_server):
        url = f"{postgres_server.url('made_here', 'maker')}".replace("maker@", "maker:it's@")
        admin = postgres_server.url()
        done = setup.make(admin, url)
        assert done[:2] == ["role maker made", "database made_here made"]
        assert not any("made" in line.split()[-1:] for line in setup.make(admin, url))
        store = open_store(url)
        store.migrate()
        assert store.create(THING, b.whole(), LAB).result().id == 1
        store.close()
        with psycopg.connect(postgres_server.url("made_here")) as connection:
            (row,) = connection.execute("SELECT datcollate FROM pg_database WHERE datname = 'made_here'").fetchall()
        assert row == ("C",)
        postgres_server.drop("made_here")
        postgres_server.run("DROP ROLE maker")

    def test_the_script_holds_no_password(self):
        lines = setup.script(setup.wanted('postgresql://a"b:secret@h/d'))
        assert lines[0] == 'CREATE ROLE "a""b" LOGIN;' and "secret" not in "".join(lines)
