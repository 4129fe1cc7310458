"""staplus-client, as its users write it: create, read, page, filter, patch, delete. `python staplus.py URL`."""

import sys

import staplus_client as staplus
from requests import HTTPError

service = staplus.STAplusService(sys.argv[1])

party = staplus.Party(description="who measures", display_name="LJS", role="individual")
service.create(party)
licence = staplus.License(name="CC BY 4.0", definition="https://creativecommons.org/licenses/by/4.0/")
service.create(licence)
thing = staplus.Thing("plus thing", "a thing")
thing.party = party
sensor = staplus.Sensor("plus sensor", "a sensor", "text/html", None, "https://example.org/sensor")
stream = staplus.Datastream(
    "plus stream",
    "air temperature",
    "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement",
    staplus.UnitOfMeasurement("Celsius", "C", "https://qudt.org/vocab/unit/DEG_C"),
)
stream.observed_property = staplus.ObservedProperty("temperature", "https://example.org/temperature", "air temperature")
stream.party, stream.thing, stream.sensor, stream.license = party, thing, sensor, licence
service.create(stream)
assert isinstance(stream.id, int)
found = service.datastreams().find(stream.id)
assert found.name == "plus stream"
(thing,) = list(service.things().query().filter(f"Datastreams/id eq {stream.id} and Party/displayName eq 'LJS'").list())

point = {"type": "Point", "coordinates": [11.571831046, 48.135666124]}
feature = staplus.FeatureOfInterest("Marienplatz", "famous place", "application/geo+json", point)
service.create(feature)
for i in range(12):
    time = f"2026-01-01T00:00:{i:02}Z"
    one = staplus.Observation(time, i / 2, time)
    one.feature_of_interest, one.datastream = feature, found
    service.create(one)
    last = one
pages = found.get_observations().query().top(5).orderby("phenomenonTime", "asc").list()
assert [one.result for one in pages] == [i / 2 for i in range(12)]
wanted = f"Datastream/id eq {stream.id} and FeatureOfInterest/name eq 'Marienplatz' and result gt 4"
some = list(service.observations().query().filter(wanted).list())
assert sorted(one.result for one in some) == [4.5, 5.0, 5.5]

group = staplus.ObservationGroup("Marienplatz", "observations there", "none", "")
group.creation_time = "2026-07-02T15:35:00Z"
group.terms_of_use = "none"
group.observations = service.observations().query().filter(wanted).list()
group.license, group.party = licence, party
service.create(group)
assert sorted(one.result for one in group.get_observations().query().list()) == [4.5, 5.0, 5.5]
relation = staplus.Relation(role="https://example.org/isFollowedBy", subject=some[0], object=some[1])
service.create(relation)
assert service.relations().find(relation.id).role == "https://example.org/isFollowedBy"
campaign = staplus.Campaign("plus campaign", "a campaign", terms_of_use="none", creation_time="2026-07-02T15:35:00Z")
campaign.party, campaign.license = party, licence
service.create(campaign)
names = [one.name for one in service.campaigns().query().filter("Party/displayName eq 'LJS'").list()]
assert "plus campaign" in names

service.patch(party, [{"op": "replace", "path": "/displayName", "value": "Silver"}])
assert service.parties().find(party.id).display_name == "Silver"
licence.description = "free"
service.update(licence)
assert service.licenses().find(licence.id).description == "free"

for gone in (relation, group, campaign, last, stream, thing, feature, licence, party):
    service.delete(gone)
try:
    service.parties().find(party.id)
except HTTPError as error:
    assert error.response.status_code == 404
else:
    raise AssertionError("the Party is still there")
print("ok")
