"""frost_sta_client, as its users write it: create, read, page, filter, patch, delete. `python frost.py URL`."""

import sys

import frost_sta_client as fsc
import jsonpatch
from frost_sta_client.model.ext.data_array_document import DataArrayDocument
from frost_sta_client.model.ext.data_array_value import DataArrayValue

service = fsc.SensorThingsService(sys.argv[1])

point = {"type": "Point", "coordinates": [13.04, 47.8]}
location = fsc.Location(name="frost here", description="-", location=point, encoding_type="application/geo+json")
thing = fsc.Thing(name="frost's thing", description="a thing", properties={"kind": "test"}, locations=[location])
sensor = fsc.Sensor(name="frost sensor", description="-", encoding_type="application/pdf", metadata="http://x.org/s")
observed = fsc.ObservedProperty(name="frost property", description="-", definition="http://x.org/p")
unit = fsc.UnitOfMeasurement(name="degree Celsius", symbol="degC", definition="http://x.org/c")
stream = fsc.Datastream(
    name="frost stream",
    description="-",
    observation_type="http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement",
    unit_of_measurement=unit,
    thing=thing,
    sensor=sensor,
    observed_property=observed,
)
service.create(stream)
assert isinstance(stream.id, int)
found = service.datastreams().find(stream.id)
assert (found.name, found.unit_of_measurement.symbol) == ("frost stream", "degC")

# A deep insert made the Thing; everything is read back with its types.

things = service.things().query().filter("name eq 'frost''s thing'").list()
(thing,) = list(things)
assert thing.properties == {"kind": "test"}
assert [place.name for place in thing.get_locations().query().list()] == ["frost here"]

for i in range(30):
    one = fsc.Observation(
        result=i / 2, phenomenon_time=f"2026-01-01T00:00:{i:02}Z", datastream=fsc.Datastream(id=stream.id)
    )
    service.create(one)
    last = one

# Paging: 30 Observations by 7 a page, each once, in order.
pages = found.get_observations().query().top(7).orderby("phenomenonTime", "ASC").count().list()
assert pages.count == 30
assert [one.result for one in pages] == [i / 2 for i in range(30)]
some = found.get_observations().query().filter("result gt 10 and result le 12").list()
assert sorted(one.result for one in some) == [10.5, 11.0, 11.5, 12.0]
assert len(list(found.get_observations().query().skip(25).list())) == 5
whole = service.things().query().filter(f"id eq {thing.id}").expand("Datastreams,Locations").list().get(0)
assert [s.name for s in whole.datastreams] == ["frost stream"]

# Update (PUT), JSON Patch.
thing.description = "another thing"
service.update(thing)
assert service.things().find(thing.id).description == "another thing"
service.patch(thing, jsonpatch.JsonPatch([{"op": "replace", "path": "/properties/kind", "value": "patched"}]))
assert service.things().find(thing.id).properties == {"kind": "patched"}

# The extension for many Observations.
if "--arrays" in sys.argv:
    values = DataArrayValue()
    values.datastream = found
    values.components = {DataArrayValue.Property.PHENOMENON_TIME, DataArrayValue.Property.RESULT}
    for i in range(3):
        values.add_observation(fsc.Observation(result=100 + i, phenomenon_time=f"2026-02-01T00:00:0{i}Z"))
    document = DataArrayDocument()
    document.add_data_array_value(values)
    service.observations().create(document)
    assert len(list(found.get_observations().query().filter("result ge 100").list())) == 3

service.delete(last)
service.delete(thing)
assert list(service.datastreams().query().filter(f"id eq {stream.id}").list()) == []
print("ok")
