"""OGC 22-022r1, requirements class core: the five entity types, their properties and their links."""

from typing import Any

import pytest
from sensorthings_api import Api, whole_thing
from staplus_bodies import campaign, group, license_, party, relation

from twinstack.sensorthings import conformance

REQUIREMENTS = ("core",)
SPEC = conformance.STAPLUS

LINK_TO = {"@iot.id": 1}
WHOLE: dict[str, dict[str, Any]] = {
    "Parties": party(role="institutional"),
    "Licenses": license_(description="May be shared.", logo="https://example.org/by.png", attributionText="by Sue"),
    "Campaigns": campaign(
        classification="public",
        privacyPolicy="None of your data leaves.",
        startTime="2026-03-01T00:00:00Z",
        endTime="2026-06-01T00:00:00Z",
        url="https://example.org/spring",
        properties={"a": [1]},
    ),
    "ObservationGroups": group(
        purpose="One walk.",
        endTime="2026-03-02T12:00:00Z",
        termsOfUse="Be kind.",
        privacyPolicy="None.",
        dataQuality={"checked": True},
        properties={"b": None},
    ),
    "Relations": relation(description="The same bird.", externalResource="https://example.org/bird", properties={}),
}
LINKS = {
    "Parties": {"Things", "Datastreams", "MultiDatastreams", "Campaigns", "ObservationGroups"},
    "Licenses": {"Datastreams", "MultiDatastreams", "Campaigns", "ObservationGroups"},
    "Campaigns": {"Party", "License", "Datastreams", "MultiDatastreams", "ObservationGroups"},
    "ObservationGroups": {"Party", "License", "Campaigns", "Observations", "Relations"},
    "Relations": {"Subject", "Object", "ObservationGroups"},
}


@pytest.mark.parametrize("set_name", WHOLE)
async def test_properties_and_links(api: Api, set_name: str) -> None:
    await api.post("/Things", whole_thing(observations=1))
    sent = WHOLE[set_name]
    await api.post(f"/{set_name}", sent)
    entity = await api.get(f"/{set_name}(1)")
    address = api.url(f"/{set_name}(1)")
    assert entity.pop("@iot.id") == 1
    assert entity.pop("@iot.selfLink") == address
    for link in LINKS[set_name]:
        assert entity.pop(f"{link}@iot.navigationLink") == f"{address}/{link}"
        empty = link in ("Party", "License", "Object")
        await api.get(f"/{set_name}(1)/{link}", 204 if empty else 200)
    assert entity == {name: value for name, value in sent.items() if name != "Subject"}
    for name in entity:
        assert await api.get(f"/{set_name}(1)/{name}") == {name: entity[name]}


MANDATORY = [
    ("Parties", "role"),
    ("Licenses", "name"),
    ("Licenses", "definition"),
    *(("Campaigns", name) for name in ("name", "description", "creationTime", "termsOfUse")),
    *(("ObservationGroups", name) for name in ("name", "description", "creationTime")),
    ("Relations", "role"),
    ("Relations", "Subject"),
    ("Relations", "externalResource"),
]


@pytest.mark.parametrize(("set_name", "name"), MANDATORY)
async def test_what_is_mandatory(api: Api, set_name: str, name: str) -> None:
    await api.post("/Things", whole_thing(observations=1))
    body = {key: value for key, value in WHOLE[set_name].items() if key != name}
    await api.post(f"/{set_name}", body, 400)
    await api.post(f"/{set_name}", body | {name: None}, 400)
    assert await api.ids(f"/{set_name}") == []


@pytest.mark.parametrize(
    ("set_name", "change"),
    [
        ("Parties", {"role": "robot"}),
        ("Parties", {"role": 1}),
        ("Parties", {"name": "Parties have none"}),
        ("Campaigns", {"creationTime": "yesterday"}),
        ("Campaigns", {"url": 5}),
        ("Campaigns", {"properties": []}),
        ("ObservationGroups", {"Observations": [LINK_TO, {"@iot.id": 99}]}),
        ("Relations", {"Object": LINK_TO}),
        ("Relations", {"Subject": {"@iot.id": 99}}),
        ("Relations", {"Subject": [LINK_TO]}),
    ],
)
async def test_what_is_refused(api: Api, set_name: str, change: dict[str, Any]) -> None:
    await api.post("/Things", whole_thing(observations=1))
    await api.post(f"/{set_name}", WHOLE[set_name] | change, 400)
    assert await api.ids(f"/{set_name}") == []


async def test_links_lead_both_ways(api: Api) -> None:
    owned = {"Party": LINK_TO, "License": LINK_TO}
    await api.post("/Parties", party())
    await api.post("/Licenses", license_())
    body = whole_thing(observations=2, Party=LINK_TO)
    body["Datastreams"][0] |= owned
    await api.post("/Things", body)
    await api.post("/Campaigns", campaign(**owned, Datastreams=[LINK_TO]))
    await api.post("/ObservationGroups", group(**owned, Campaigns=[LINK_TO], Observations=[LINK_TO, {"@iot.id": 2}]))
    await api.post("/Relations", relation(1, Object={"@iot.id": 2}, ObservationGroups=[LINK_TO]))
    for path in (
        *(f"/Parties(1)/{name}" for name in ("Things", "Datastreams", "Campaigns", "ObservationGroups")),
        *(f"/Licenses(1)/{name}" for name in ("Datastreams", "Campaigns", "ObservationGroups")),
        *(f"/Campaigns(1)/{name}" for name in ("Datastreams", "ObservationGroups")),
        *(f"/ObservationGroups(1)/{name}" for name in ("Campaigns", "Relations")),
        "/Datastreams(1)/Campaigns",
        "/Relations(1)/ObservationGroups",
        "/Observations(2)/ObservationGroups",
        # An Observation's Objects are the Relations that lead from it to an object.
        "/Observations(1)/Objects",
        "/Observations(2)/Subjects",
    ):
        assert await api.ids(path) == [1], path
    assert await api.ids("/ObservationGroups(1)/Observations") == [1, 2]
    for path in ("/Observations(1)/Subjects", "/Observations(2)/Objects", "/Campaigns(1)/MultiDatastreams"):
        assert await api.ids(path) == [], path
    assert (await api.get("/Relations(1)/Subject"))["@iot.id"] == 1
    assert (await api.get("/Relations(1)/Object"))["@iot.id"] == 2
    for path in ("Things", "Datastreams", "Campaigns", "ObservationGroups"):
        assert (await api.get(f"/{path}(1)/Party"))["displayName"] == "Sue"
    assert (await api.get("/Observations(1)/Objects(1)/Object/Datastream/License"))["name"] == "CC BY 4.0"


async def test_they_are_filtered_expanded_and_ordered_like_all(api: Api) -> None:
    await api.post("/Parties", party())
    await api.post("/Parties", party(displayName="Ann"))
    body = whole_thing(observations=3)
    body["Datastreams"][0]["Party"] = {"@iot.id": 2}
    await api.post("/Things", body)
    await api.post("/ObservationGroups", group(Observations=[{"@iot.id": 1}, {"@iot.id": 3}]))
    await api.post("/Relations", relation(1, Object={"@iot.id": 3}, role="follows"))
    assert await api.ids("/Datastreams?$filter=Party/displayName eq 'Ann'") == [1]
    assert await api.ids("/Observations?$filter=ObservationGroups/name eq 'Morning'") == [1, 3]
    assert await api.ids("/Observations?$filter=Objects/role eq 'follows' and Objects/Object/id eq 3") == [1]
    assert await api.ids("/Relations?$filter=Subject/Datastream/Party/id eq 2") == [1]
    assert await api.ids("/Parties?$orderby=displayName&$select=id,displayName") == [2, 1]
    assert await api.ids("/ObservationGroups?$filter=creationTime gt 2026-03-03T00:00:00Z") == []
    [one] = await api.values("/ObservationGroups?$expand=Observations($count=true;$top=1),Relations,Party")
    assert (one["Observations@iot.count"], len(one["Observations"]), one["Relations"]) == (2, 1, [])
    assert one["Party"] is None
    [found] = await api.values("/Relations?$expand=Subject($expand=Datastream/Party),Object")
    assert found["Subject"]["Datastream"]["Party"]["displayName"] == "Ann"
    assert found["Object"]["@iot.id"] == 3


async def test_the_extension_is_not_on_1_0(api: Api) -> None:
    await api.post("/Parties", party())
    await api.post("/Things", whole_thing(observations=1, Party=LINK_TO))
    old = api.old()
    for path in ("/Parties", "/Licenses(1)", "/Things(1)/Party", "/Observations(1)/ObservationGroups"):
        await old.get(path, 404)
    await old.get("/Things?$expand=Party", 400)
    await old.get("/Things?$filter=Party/id eq 1", 400)
    await old.get("/Things?$select=Party", 400)
    thing = await old.get("/Things(1)")
    assert not any("Party" in key for key in thing)
    # An unknown key, as any other.
    await old.patch("/Things(1)", {"Party": None, "description": "changed"})
    assert (await api.get("/Things(1)/Party"))["@iot.id"] == 1
    assert not {"Parties", "Licenses"} & {one["name"] for one in (await old.get("/"))["value"]}
    assert "serverSettings" not in await old.get("/")
