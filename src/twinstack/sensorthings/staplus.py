"""The entity types of STAplus (OGC 22-022r1) and the links that they give to the types of OGC 18-088. On 1.1 only.

An Observation's `Objects` are the Relations of which it is the Subject (they lead to its objects), its `Subjects`
those of which it is the Object, as in the implementations of the standard's editors.
"""

from __future__ import annotations

from twinstack.sensorthings.entitytypes import (
    ByColumn,
    ByTable,
    ByTarget,
    EntityType,
    Link,
    Property,
    PropertyType,
    Version,
    text,
)

SINCE: Version = "1.1"
_T = PropertyType
_JSON_PROPERTIES = Property("properties", "properties", _T.JSON)
_NAME, _DESCRIPTION = text("name"), text("description")
_NO_DESCRIPTION = text("description", mandatory=False)


def _to_one(name: str, column: str) -> Link:
    return Link(name, name, False, ByColumn(column), since=SINCE)


def _owned(set_name: str, target: str, column: str) -> Link:
    return Link(set_name, target, True, ByTarget(column), since=SINCE)


def _pairs(set_name: str, target: str, table: str, own: str, other: str) -> Link:
    return Link(set_name, target, True, ByTable(table, own, other), since=SINCE)


_PARTY, _LICENSE = _to_one("Party", "party_id"), _to_one("License", "license_id")

PARTY = EntityType(
    "Party",
    "Parties",
    "party",
    (
        Property("role", "role", mandatory=True, values=frozenset({"individual", "institutional"})),
        _NO_DESCRIPTION,
        text("displayName", "display_name", mandatory=False),
        text("authId", "auth_id", mandatory=False),
    ),
    (
        _owned("Things", "Thing", "party_id"),
        _owned("Datastreams", "Datastream", "party_id"),
        _owned("MultiDatastreams", "MultiDatastream", "party_id"),
        _owned("Campaigns", "Campaign", "party_id"),
        _owned("ObservationGroups", "ObservationGroup", "party_id"),
    ),
    since=SINCE,
)
LICENSE = EntityType(
    "License",
    "Licenses",
    "license",
    (
        _NAME,
        text("definition"),
        _NO_DESCRIPTION,
        text("logo", mandatory=False),
        text("attributionText", "attribution_text", mandatory=False),
    ),
    (
        _owned("Datastreams", "Datastream", "license_id"),
        _owned("MultiDatastreams", "MultiDatastream", "license_id"),
        _owned("Campaigns", "Campaign", "license_id"),
        _owned("ObservationGroups", "ObservationGroup", "license_id"),
    ),
    since=SINCE,
)
CAMPAIGN = EntityType(
    "Campaign",
    "Campaigns",
    "campaign",
    (
        _NAME,
        _DESCRIPTION,
        text("classification", mandatory=False),
        text("termsOfUse", "terms_of_use"),
        text("privacyPolicy", "privacy_policy", mandatory=False),
        Property("creationTime", "creation_time", _T.INSTANT, mandatory=True),
        Property("startTime", "start_time", _T.INSTANT),
        Property("endTime", "end_time", _T.INSTANT),
        text("url", mandatory=False),
        _JSON_PROPERTIES,
    ),
    (
        _PARTY,
        _LICENSE,
        _pairs("Datastreams", "Datastream", "campaign_datastream", "campaign_id", "datastream_id"),
        _pairs("MultiDatastreams", "MultiDatastream", "campaign_datastream", "campaign_id", "datastream_id"),
        _pairs(
            "ObservationGroups",
            "ObservationGroup",
            "campaign_observation_group",
            "campaign_id",
            "observation_group_id",
        ),
    ),
    since=SINCE,
)
OBSERVATION_GROUP = EntityType(
    "ObservationGroup",
    "ObservationGroups",
    "observation_group",
    (
        _NAME,
        _DESCRIPTION,
        text("purpose", mandatory=False),
        Property("creationTime", "creation_time", _T.INSTANT, mandatory=True),
        Property("endTime", "end_time", _T.INSTANT),
        text("termsOfUse", "terms_of_use", mandatory=False),
        text("privacyPolicy", "privacy_policy", mandatory=False),
        Property("dataQuality", "data_quality", _T.JSON),
        _JSON_PROPERTIES,
    ),
    (
        _PARTY,
        _LICENSE,
        _pairs("Campaigns", "Campaign", "campaign_observation_group", "observation_group_id", "campaign_id"),
        _pairs("Observations", "Observation", "group_observation", "observation_group_id", "observation_id"),
        _pairs("Relations", "Relation", "group_relation", "observation_group_id", "relation_id"),
    ),
    since=SINCE,
)
RELATION = EntityType(
    "Relation",
    "Relations",
    "relation",
    (
        text("role"),
        _NO_DESCRIPTION,
        text("externalResource", "external_resource", mandatory=False),
        _JSON_PROPERTIES,
    ),
    (
        Link("Subject", "Observation", False, ByColumn("subject_id"), mandatory=True, since=SINCE, back="Objects"),
        Link("Object", "Observation", False, ByColumn("object_id"), since=SINCE, back="Subjects"),
        _pairs("ObservationGroups", "ObservationGroup", "group_relation", "relation_id", "observation_group_id"),
    ),
    since=SINCE,
)

ENTITY_TYPES = (PARTY, LICENSE, CAMPAIGN, OBSERVATION_GROUP, RELATION)

THING_LINKS = (_PARTY,)
DATASTREAM_LINKS = (
    _PARTY,
    _LICENSE,
    _pairs("Campaigns", "Campaign", "campaign_datastream", "datastream_id", "campaign_id"),
)
OBSERVATION_LINKS = (
    _pairs("ObservationGroups", "ObservationGroup", "group_observation", "observation_id", "observation_group_id"),
    Link("Objects", "Relation", True, ByTarget("subject_id"), since=SINCE, back="Subject"),
    Link("Subjects", "Relation", True, ByTarget("object_id"), since=SINCE, back="Object"),
)
