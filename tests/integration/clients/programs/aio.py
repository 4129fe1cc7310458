"""aio-sensorthings, as its users write it: create, read, page, filter, patch, delete. `python aio.py URL`."""

import asyncio
import sys

from aio_sensorthings import STAClient, STAEntityType, STAHttpSource, STAHttpTarget

POINT = {"type": "Point", "coordinates": [13.04, 47.8]}
THING = {
    "name": "aio's thing",
    "description": "a thing",
    "properties": {"kind": "test"},
    "Locations": [{"name": "l", "description": "-", "encodingType": "application/geo+json", "location": POINT}],
    "Datastreams": [
        {
            "name": "aio stream",
            "description": "-",
            "observationType": "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement",
            "unitOfMeasurement": {"name": "degree Celsius", "symbol": "degC", "definition": "http://x.org/c"},
            "Sensor": {"name": "s", "description": "-", "encodingType": "text/html", "metadata": "-"},
            "ObservedProperty": {"name": "p", "description": "-", "definition": "http://x.org/p"},
        }
    ],
}


async def main(url: str) -> None:
    async with STAClient(url.removesuffix("/v1.1")) as client:
        source, target = STAHttpSource(client), STAHttpTarget(client)
        thing = await target.create_entity(STAEntityType.THING, THING)
        whole = await source.get_entity(STAEntityType.THING, thing, expand="Datastreams,Locations")
        assert whole["@iot.id"] == thing
        stream = whole["Datastreams"][0]["@iot.id"]
        for i in range(30):
            body = {"result": i / 2, "phenomenonTime": f"2026-01-01T00:00:{i:02}Z", "Datastream": {"@iot.id": stream}}
            number, _ = await client.post("Observations", body)
            assert isinstance(number, int)
        path = f"Datastreams({stream})/Observations"
        found = await client.get_all(path, top=7, params={"$orderby": "phenomenonTime asc"})
        assert [one["result"] for one in found] == [i / 2 for i in range(30)]
        some = await source.get_entities(STAEntityType.OBSERVATION, nav_path=path, filter_="result gt 14")
        assert [one["result"] for one in some] == [14.5]
        by_name = await target.get_entity_by_name(STAEntityType.THING, "aio's thing")
        assert by_name is not None
        assert by_name["@iot.id"] == thing
        assert await target.update_entity(STAEntityType.THING, thing, {"description": "another thing"})
        assert (await source.get_entity(STAEntityType.THING, thing))["description"] == "another thing"
        assert not await target.update_entity(STAEntityType.THING, 2**31 - 1, {"description": "none"})
        # It has no delete of its own: its session sends one.
        async with client._session.delete(f"{url}/Things({thing})") as answer:
            assert answer.status == 200
        assert await target.get_entity_by_name(STAEntityType.DATASTREAM, "aio stream") is None
    print("ok")


asyncio.run(main(sys.argv[1]))
