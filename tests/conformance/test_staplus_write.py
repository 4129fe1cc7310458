"""OGC 22-022r1, requirements classes create, update and delete."""

import pytest
from sensorthings_api import Api, whole_thing
from staplus_bodies import campaign, group, license_, party, relation

from twinstack.sensorthings import conformance

REQUIREMENTS = ("create", "update", "delete")
SPEC = conformance.STAPLUS

LINK_TO = {"@iot.id": 1}


async def filled(api: Api) -> None:
    """One of each, linked to all others, and a second Observation that is the Relation's Object."""
    await api.post("/Parties", party())
    body = whole_thing("A", 2, Party=LINK_TO)
    body["Datastreams"][0] |= {"Party": LINK_TO, "License": license_(), "Campaigns": [campaign(Party=LINK_TO)]}
    await api.post("/Things", body)
    both = [LINK_TO, {"@iot.id": 2}]
    await api.post("/ObservationGroups", group(Party=LINK_TO, License=LINK_TO, Campaigns=[LINK_TO], Observations=both))
    await api.post("/ObservationGroups(1)/Relations", relation(1, Object={"@iot.id": 2}))


async def test_deep_insert_in_any_direction(api: Api) -> None:
    await filled(api)
    streams = {"Datastream": LINK_TO}
    one = await api.post(
        "/Campaigns",
        campaign(
            "deep",
            Party=party(displayName="New"),
            License=license_("New"),
            ObservationGroups=[
                group(
                    "deep",
                    Observations=[{"result": 1, **streams}, {"result": 2, **streams}],
                    Relations=[
                        {
                            "role": "follows",
                            "Subject": {"result": 3, **streams},
                            "Object": {"result": 4, **streams},
                        }
                    ],
                )
            ],
        ),
    )
    whole = await api.get(
        f"/Campaigns({one})?$expand=Party,License,ObservationGroups($expand=Observations,Relations/Subject,Relations/Object)"
    )
    assert (whole["Party"]["displayName"], whole["License"]["name"]) == ("New", "New")
    [made] = whole["ObservationGroups"]
    assert [o["result"] for o in made["Observations"]] == [1, 2]
    assert (made["Relations"][0]["Subject"]["result"], made["Relations"][0]["Object"]["result"]) == (3, 4)
    three = await api.post(
        "/Datastreams(1)/Observations",
        {
            "result": 5,
            "ObservationGroups": [group("inline"), LINK_TO],
            "Objects": [{"role": "of", "externalResource": "https://example.org"}],
            "Subjects": [{"role": "to", "Subject": LINK_TO}],
        },
    )
    assert len(await api.ids(f"/Observations({three})/ObservationGroups")) == 2
    assert [r["role"] for r in await api.values(f"/Observations({three})/Objects")] == ["of"]
    assert [r["role"] for r in await api.values(f"/Observations({three})/Subjects")] == ["to"]


async def test_a_failing_part_leaves_nothing(api: Api) -> None:
    await filled(api)
    before = [len(await api.ids(f"/{name}")) for name in ("Observations", "ObservationGroups", "Relations", "Parties")]
    bad = {"role": "no object", "Subject": {"result": 9, "Datastream": LINK_TO}}
    await api.post("/ObservationGroups", group("bad", Party=party(), Relations=[bad]), 400)
    await api.post("/Datastreams(1)/Observations", {"result": 1, "Objects": [{"role": "x"}]}, 400)
    after = [len(await api.ids(f"/{name}")) for name in ("Observations", "ObservationGroups", "Relations", "Parties")]
    assert before == after


async def test_a_post_to_a_path_links_its_parent(api: Api) -> None:
    await filled(api)
    assert await api.post("/Observations(2)/Objects", {"role": "a", "externalResource": "x"}) == 2
    assert (await api.get("/Relations(2)/Subject"))["@iot.id"] == 2
    assert await api.post("/Observations(2)/Subjects", {"role": "b", "Subject": LINK_TO}) == 3
    assert (await api.get("/Relations(3)/Object"))["@iot.id"] == 2
    two = await api.post("/Parties(1)/Campaigns", campaign("two"))
    assert (await api.get(f"/Campaigns({two})/Party"))["@iot.id"] == 1
    await api.post(f"/Campaigns({two})/ObservationGroups", group("two", Campaigns=[LINK_TO]))
    assert await api.ids("/ObservationGroups(2)/Campaigns") == [1, two]
    await api.post("/ObservationGroups(2)/Observations", {"result": 7, "Datastream": LINK_TO})
    assert [o["result"] for o in await api.values("/ObservationGroups(2)/Observations")] == [7]
    await api.post("/Campaigns(9)/ObservationGroups", group(), 404)


async def test_updates(api: Api) -> None:
    await filled(api)
    answer = await api.patch("/Parties(1)", {"role": "institutional", "displayName": None})
    assert (answer["role"], answer["displayName"], answer["authId"]) == ("institutional", None, "sue@example.org")
    await api.patch("/Parties(1)", {"role": "robot"}, 400)
    await api.patch("/Parties(1)", {"role": None}, 400)
    two = await api.post("/Parties", party(displayName="Two"))
    await api.patch("/Things(1)", {"Party": {"@iot.id": two}})
    assert (await api.get("/Things(1)/Party"))["displayName"] == "Two"
    await api.patch("/Things(1)", {"Party": None})
    await api.get("/Things(1)/Party", 204)
    await api.patch("/Parties(2)", {"Things": [LINK_TO]})
    assert (await api.get("/Things(1)/Party"))["@iot.id"] == two
    await api.post("/ObservationGroups", group("two"))
    await api.patch("/ObservationGroups(2)", {"Observations": [LINK_TO], "Relations": [LINK_TO]})
    assert await api.ids("/ObservationGroups(2)/Observations") == [1]
    assert await api.ids("/Relations(1)/ObservationGroups") == [1, 2]
    await api.patch("/Observations(2)", {"ObservationGroups": [{"@iot.id": 2}]})
    assert await api.ids("/ObservationGroups(2)/Observations") == [1, 2]
    replaced = await api.put("/Campaigns(1)", campaign("new"))
    assert (replaced["name"], replaced["url"]) == ("new", None)
    assert await api.ids("/Campaigns(1)/Datastreams") == [1]
    patch = [{"op": "replace", "path": "/termsOfUse", "value": "new"}]
    answer = await api.send(
        "PATCH", "/Campaigns(1)", json=patch, headers={"Content-Type": "application/json-patch+json"}
    )
    assert answer.json()["termsOfUse"] == "new"
    tag = (await api.send("GET", "/Licenses(1)")).headers["etag"]
    await api.patch("/Licenses(1)", {"name": "other"}, If_Match=tag)
    await api.patch("/Licenses(1)", {"name": "third"}, 412, If_Match=tag)


async def test_a_relation_has_an_object_or_an_external_resource(api: Api) -> None:
    await filled(api)
    await api.patch("/Relations(1)", {"externalResource": "https://example.org"}, 400)
    await api.patch("/Relations(1)", {"Object": None}, 400)
    await api.patch("/Relations(1)", {"Subject": None}, 400)
    await api.patch("/Relations(1)", {"Object": None, "externalResource": "https://example.org"})
    await api.get("/Relations(1)/Object", 204)
    await api.patch("/Observations(2)", {"Subjects": [LINK_TO]}, 400)
    await api.patch("/Relations(1)", {"Object": {"@iot.id": 2}, "externalResource": None})
    assert await api.ids("/Observations(2)/Subjects") == [1]


SETS = ("Things", "Datastreams", "Observations", "Parties", "Licenses", "Campaigns", "ObservationGroups", "Relations")


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("/Parties(1)", {"Parties": []}),
        ("/Licenses(1)", {"Licenses": []}),
        ("/Campaigns(1)", {"Campaigns": []}),
        ("/ObservationGroups(1)", {"ObservationGroups": []}),
        ("/Relations(1)", {"Relations": []}),
        # A Relation ends with its Subject or its Object.
        ("/Observations(1)", {"Observations": [2], "Relations": []}),
        ("/Observations(2)", {"Observations": [1], "Relations": []}),
        ("/FeaturesOfInterest(1)", {"Observations": [], "Relations": []}),
        ("/Datastreams(1)", {"Datastreams": [], "Observations": [], "Relations": []}),
        ("/Things(1)", {"Things": [], "Datastreams": [], "Observations": [], "Relations": []}),
    ],
)
async def test_what_goes_and_what_stays(api: Api, path: str, gone: dict[str, list[int]]) -> None:
    await filled(api)
    before = {name: await api.ids(f"/{name}") for name in SETS}
    await api.delete(path)
    after = before | gone
    assert {name: await api.ids(f"/{name}") for name in SETS} == after
    for name in SETS:
        for entity_id in after[name]:
            links = (await api.get(f"/{name}({entity_id})")).items()
            for url in [url for key, url in links if key.endswith("@iot.navigationLink")]:
                assert (await api.send("GET", url)).status_code in (200, 204)
    await api.delete(path, 404)


async def test_relations_end_with_a_large_datastream_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinstack.core import limits

    monkeypatch.setattr(limits, "CASCADE_ROWS_MAX", 5)
    await filled(api)
    await api.post("/Things", whole_thing("B", 12))
    await api.post("/Relations", relation(3, externalResource="x"))
    await api.post("/Relations", relation(1, Object={"@iot.id": 4}))
    await api.patch("/ObservationGroups(1)", {"Observations": [{"@iot.id": 5}]})
    await api.delete("/Things(2)")
    assert await api.ids("/Relations") == [1]
    assert await api.ids("/ObservationGroups(1)/Observations") == [1, 2]
    assert await api.ids("/Observations") == [1, 2]
