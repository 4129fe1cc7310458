"""What is older than it is kept for goes in slices, and everything that counts Observations stays right."""

import random

import pytest
import sqlalchemy as sa
import store_bodies as b
from store_bodies import CAR, rows

from twinstack.core import limits
from twinstack.core.errors import NotFound
from twinstack.platform.housekeeping import Housekeeping
from twinstack.sensorthings.model import BY_NAME, FEATURE
from twinstack.sensorthings.store import NewObservation, retention, tables

HOUR = 3_600_000
US = 1_000
LONG = 40 * HOUR + HOUR // 2


@pytest.fixture
def stream(store, lab, clock):
    store.create(BY_NAME["Thing"], b.whole(), lab).result()
    return rows(store, tables.datastream)[0]["id"]


def observe(store, clock, stream, ages_h, **more):
    now = clock.us
    store.insert_observations(
        [NewObservation(stream, now - int(h * HOUR * US), float(h), **more) for h in ages_h]
    ).result()


def stat(store, stream):
    return rows(store, tables.datastream_stat, datastream_id=stream)[0]


def recomputed(store, stream):
    """The stat row as all rows of the Datastream say it."""
    o = rows(store, tables.observation, datastream_id=stream)
    latest = max(o, key=lambda r: (r["t"], -r["id"]), default=None)
    times = [r["result_time"] for r in o if r["result_time"] is not None]
    return {
        "n": len(o),
        "t_min": min((r["t"] for r in o), default=None),
        "t_max": max((r["t_end"] or r["t"] for r in o), default=None),
        "r_min": min(times, default=None),
        "r_max": max(times, default=None),
        "latest_id": latest and latest["id"],
        "latest_t": latest and latest["t"],
    }


def is_right(store, stream):
    wanted = recomputed(store, stream)
    assert {k: v for k, v in stat(store, stream).items() if k in wanted} == wanted


def test_old_rows_go_and_the_counts_are_right(store, clock, stream, monkeypatch):
    monkeypatch.setattr(limits, "CASCADE_SLICE_ROWS", 7)
    observe(store, clock, stream, range(50))
    deleted = retention.run(store, 20 * HOUR)
    assert (deleted.observations, deleted.datastreams) == (30, {stream})
    assert sorted(r["result"] for r in rows(store, tables.observation)) == [float(h) for h in range(20)]
    is_right(store, stream)
    assert retention.run(store, 20 * HOUR).observations == 0


@pytest.mark.parametrize("few", [5, limits.CASCADE_ROWS_MAX], ids=["read apart", "at once"])
def test_any_order_of_times_intervals_and_result_times(store, clock, stream, monkeypatch, few):
    monkeypatch.setattr(limits, "CASCADE_SLICE_ROWS", 13)
    monkeypatch.setattr(limits, "CASCADE_ROWS_MAX", few)
    rng = random.Random(few)
    now = clock.us
    sent = []
    for _ in range(200):
        t = now - rng.randrange(100) * HOUR * US
        end = t + rng.randrange(60) * HOUR * US if rng.random() < 0.3 else None
        result_time = now - rng.randrange(100) * HOUR * US if rng.random() < 0.5 else None
        sent.append(NewObservation(stream, t, 1.0, end, result_time))
    store.insert_observations(sent).result()
    before = now - LONG * US
    kept = sum((row.t_end or row.t) >= before for row in sent)
    retention.run(store, LONG)
    assert stat(store, stream)["n"] == kept
    is_right(store, stream)
    clock.us += 1000 * HOUR * US
    retention.run(store, LONG)
    assert recomputed(store, stream)["n"] == 0
    is_right(store, stream)


def test_a_datastream_wins_over_its_system_and_that_over_the_default(store, clock, lab):
    store.create_system(CAR).result()
    for name in ("one", "two"):
        store.create(BY_NAME["Thing"], b.whole(f"{CAR}.{name}"), lab).result()
    store.create(BY_NAME["Thing"], b.whole("elsewhere"), lab).result()
    streams = rows(store, tables.datastream)
    assert [s["log_key"].rsplit(".", 2)[1] for s in streams] == ["one", "two", "elsewhere"]
    for one in streams:
        observe(store, clock, one["id"], range(10))
    store.write(lambda tx: retention.keep(tx, CAR, 5 * HOUR)).result()
    store.write(lambda tx: retention.keep(tx, streams[1]["log_key"], retention.KEEP_ALL)).result()
    retention.run(store, 2 * HOUR)
    assert [r["n"] for r in rows(store, tables.datastream_stat)] == [5, 10, 2]
    with store.reader() as connection:
        assert retention.kept(connection) == [
            ("system", CAR, 5 * HOUR),
            ("datastream", streams[1]["log_key"], retention.KEEP_ALL),
        ]
    store.write(lambda tx: retention.keep(tx, CAR, None)).result()
    assert retention.run(store, None).observations == 0
    with pytest.raises(NotFound):
        store.write(lambda tx: retention.keep(tx, "nobody", HOUR)).result()


@pytest.mark.parametrize("few", [1, limits.CASCADE_ROWS_MAX], ids=["read apart", "at once"])
def test_places_of_what_is_gone_leave_the_observed_area(store, clock, stream, lab, monkeypatch, few):
    monkeypatch.setattr(limits, "CASCADE_ROWS_MAX", few)
    body = {"name": "f", "description": "-", "encodingType": "application/geo+json"}
    far = store.create(FEATURE, {**body, "feature": {"type": "Point", "coordinates": [50, 10]}}, lab).result().id
    near = store.create(FEATURE, {**body, "feature": {"type": "Point", "coordinates": [1, 2]}}, lab).result().id
    observe(store, clock, stream, [9, 8], feature_id=far)
    observe(store, clock, stream, [1, 2, 3], feature_id=near)
    assert stat(store, stream)["bbox_e"] == 50
    retention.run(store, 5 * HOUR)
    assert stat(store, stream)["bbox_e"] == 1
    assert [r["feature_id"] for r in rows(store, tables.datastream_feature)] == [near]


def test_the_server_does_it_by_itself_and_stops_at_once(store, clock, stream):
    observe(store, clock, stream, range(5))
    tidy = Housekeeping(store, 2 * HOUR, first_s=0, every_s=1000)
    tidy.start()
    for _ in range(200):
        if stat(store, stream)["n"] == 2:
            break
        tidy._stop.wait(0.1)
    tidy.stop()
    assert stat(store, stream)["n"] == 2
    with store.reader() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.observation)).scalar_one() == 2
