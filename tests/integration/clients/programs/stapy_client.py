"""stapy, as its users write it: create, read, page, filter, patch, delete. `python stapy_client.py URL`."""

import sys

import requests
import stapy
from stapy import Delete, Entity, Patch, Post, Query
from stapy.sta.query import Expand

stapy.set_sta_url(sys.argv[1])

place = Post.location("stapy here", "-", "application/geo+json", {"type": "Point", "coordinates": [13.04, 47.8]})
thing = Post.thing("stapy thing", "a thing", properties={"kind": "test"}, location_id=place)
sensor = Post.sensor("stapy sensor", "-", "application/pdf", "http://x.org/s")
observed = Post.observed_property("stapy property", "-", "http://x.org/p")
unit = {"name": "degree Celsius", "symbol": "degC", "definition": "http://x.org/c"}
kind = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement"
stream = Post.datastream("stapy stream", "-", unit, kind, thing, observed, sensor)
assert all(isinstance(i, int) and i > 0 for i in (place, thing, sensor, observed, stream)), (place, thing, stream)
ids = [
    Post.observation(f"2026-01-01T00:00:{i:02}Z", i / 2, datastream_id=stream, parameters={"i": i}) for i in range(30)
]
assert len(set(ids)) == 30

# Paging: all of them although a page holds 7.
query = Query(Entity.Datastream).entity_id(stream).sub_entity(Entity.Observation)
results, times = query.select("result", "phenomenonTime").order("phenomenonTime").limit(7).get_data_sets()
assert results == [i / 2 for i in range(30)], results
assert times[0].startswith("2026-01-01T00:00:00")
query = Query(Entity.Observation).filter(f"Datastream/id eq {stream} and result gt 14").select("result")
assert query.get_data_sets() == 14.5
names = Query(Entity.Thing).filter("name eq 'stapy thing'").select("name", "properties.kind").get_data_sets()
assert names == ("stapy thing", "test"), names
expand = Expand(Entity.Datastream).select(["name"]).get_expand()
(expanded,) = Query(Entity.Thing).entity_id(thing).expand(expand).select("Datastreams").get_data_sets() or [None]
assert expanded["name"] == "stapy stream", expanded

assert Patch.thing(thing, description="another thing") == thing
assert Query(Entity.Thing).entity_id(thing).select("description").get_data_sets() == "another thing"

if "--arrays" in sys.argv:
    Post.observations([100, 101], ["2026-02-01T00:00:00Z", "2026-02-01T00:00:01Z"], stream)
    query = Query(Entity.Datastream).entity_id(stream).sub_entity(Entity.Observation)
    assert sorted(query.filter("result ge 100").select("result").get_data_sets()) == [100, 101]

Delete.entity(Entity.Observation, ids[:2])
query = Query(Entity.Datastream).entity_id(stream).sub_entity(Entity.Observation)
assert len(query.filter("result lt 100").select("result").get_data_sets()) == 28
Delete.entity(Entity.Thing, thing)
assert requests.get(f"{sys.argv[1]}/Datastreams({stream})").status_code == 404
print("ok")
