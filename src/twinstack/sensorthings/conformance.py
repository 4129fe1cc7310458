"""Which requirements the server promises, and which module of tests/conformance proves each.

The service root of 1.1 lists the URIs of this table and no other; a test holds it against what the modules say of
themselves. A requirement that no module proves does not stand here.
"""

from __future__ import annotations

SENSING = "http://www.opengis.net/spec/iot_sensing/1.1/req"
"""OGC 18-088."""
STAPLUS = "http://www.opengis.net/spec/sensorthings-staplus/1.0/conf"
"""OGC 22-022r1."""

_ENTITIES = (
    "thing",
    "location",
    "historical-location",
    "datastream",
    "sensor",
    "observed-property",
    "observation",
    "feature-of-interest",
)

PROVED_BY: dict[str, tuple[str, ...]] = {
    "test_sta_entities": (
        *(f"{SENSING}/datamodel/{name}/{part}" for name in _ENTITIES for part in ("properties", "relations")),
        f"{SENSING}/datamodel/entity-control-information/common-control-information",
    ),
    "test_sta_paths": (f"{SENSING}/resource-path/resource-path-to-entities",),
    "test_sta_status": (f"{SENSING}/request-data/status-code", f"{SENSING}/request-data/query-status-code"),
    "test_sta_select_expand": (f"{SENSING}/request-data/expand", f"{SENSING}/request-data/select"),
    "test_sta_pages": (
        f"{SENSING}/request-data/order",
        f"{SENSING}/request-data/orderby",
        f"{SENSING}/request-data/top",
        f"{SENSING}/request-data/skip",
        f"{SENSING}/request-data/count",
        f"{SENSING}/request-data/pagination",
    ),
    "test_sta_filter": (f"{SENSING}/request-data/filter", f"{SENSING}/request-data/built-in-filter-operations"),
    "test_sta_filter_geo": (f"{SENSING}/request-data/built-in-query-functions",),
    "test_sta_create": (
        f"{SENSING}/create-update-delete/create-entity",
        f"{SENSING}/create-update-delete/link-to-existing-entities",
        f"{SENSING}/create-update-delete/deep-insert",
        f"{SENSING}/create-update-delete/deep-insert-status-code",
    ),
    "test_sta_update": (
        f"{SENSING}/create-update-delete/update-entity",
        f"{SENSING}/create-update-delete/update-entity-put",
        f"{SENSING}/create-update-delete/update-entity-jsonpatch",
    ),
    "test_sta_delete": (f"{SENSING}/create-update-delete/delete-entity",),
    "test_sta_historical_locations": (
        f"{SENSING}/create-update-delete/historical-location-auto-creation",
        f"{SENSING}/create-update-delete/historical-location-manual-creation",
    ),
    "test_sta_multi_datastream": (
        f"{SENSING}/multi-datastream/properties",
        f"{SENSING}/multi-datastream/relations",
        f"{SENSING}/multi-datastream/constraints",
    ),
    "test_sta_data_array": (f"{SENSING}/data-array/data-array",),
    "test_sta_batch": (f"{SENSING}/batch-request/batch-request",),
    "test_staplus_core": (f"{STAPLUS}/core",),
    "test_staplus_write": (f"{STAPLUS}/create", f"{STAPLUS}/update", f"{STAPLUS}/delete"),
}

V11: tuple[str, ...] = tuple(uri for uris in PROVED_BY.values() for uri in uris)
"""What `serverSettings.conformance` lists."""
