"""What differs between the versions of the API: one table, from which paths, answers and the service root are made.

OGC 15-078r6 (1.0) and OGC 18-088 (1.1) share annotation names; a version that changes them changes this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from twinstack.core import limits
from twinstack.sensorthings.model import BY_SET, EntityType, Version

SPEC = "http://www.opengis.net/spec/iot_sensing/1.1/req"

CONFORMANCE_V11: tuple[str, ...] = (
    f"{SPEC}/datamodel/thing/properties",
    f"{SPEC}/datamodel/thing/relations",
    f"{SPEC}/datamodel/location/properties",
    f"{SPEC}/datamodel/location/relations",
    f"{SPEC}/datamodel/historical-location/properties",
    f"{SPEC}/datamodel/historical-location/relations",
    f"{SPEC}/datamodel/datastream/properties",
    f"{SPEC}/datamodel/datastream/relations",
    f"{SPEC}/datamodel/sensor/properties",
    f"{SPEC}/datamodel/sensor/relations",
    f"{SPEC}/datamodel/observed-property/properties",
    f"{SPEC}/datamodel/observed-property/relations",
    f"{SPEC}/datamodel/observation/properties",
    f"{SPEC}/datamodel/observation/relations",
    f"{SPEC}/datamodel/feature-of-interest/properties",
    f"{SPEC}/datamodel/feature-of-interest/relations",
    f"{SPEC}/datamodel/entity-control-information/common-control-information",
    f"{SPEC}/resource-path/resource-path-to-entities",
    f"{SPEC}/request-data/order",
    f"{SPEC}/request-data/expand",
    f"{SPEC}/request-data/select",
    f"{SPEC}/request-data/status-code",
    f"{SPEC}/request-data/query-status-code",
    f"{SPEC}/request-data/orderby",
    f"{SPEC}/request-data/top",
    f"{SPEC}/request-data/skip",
    f"{SPEC}/request-data/count",
    f"{SPEC}/request-data/filter",
    f"{SPEC}/request-data/built-in-filter-operations",
    f"{SPEC}/request-data/pagination",
    f"{SPEC}/create-update-delete/create-entity",
    f"{SPEC}/create-update-delete/link-to-existing-entities",
    f"{SPEC}/create-update-delete/deep-insert",
    f"{SPEC}/create-update-delete/deep-insert-status-code",
    f"{SPEC}/create-update-delete/update-entity",
    f"{SPEC}/create-update-delete/update-entity-put",
    f"{SPEC}/create-update-delete/update-entity-jsonpatch",
    f"{SPEC}/create-update-delete/delete-entity",
    f"{SPEC}/create-update-delete/historical-location-auto-creation",
    f"{SPEC}/data-array/data-array",
    f"{SPEC}/batch-request/batch-request",
)
"""Requirements of OGC 18-088 that a module of tests/conformance proves; a test compares this table with theirs."""


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """`lenient`: links in `$expand` may stand in the singular or plural and in any case (old clients).
    `echoes`: PATCH and POST answer with the whole entity, Observations included."""

    version: Version
    page_rows: int
    lenient: bool
    echoes: bool
    conformance: tuple[str, ...] | None
    sets: Mapping[str, EntityType] = field(hash=False, compare=False, default_factory=lambda: BY_SET)
    id: str = "@iot.id"
    self_link: str = "@iot.selfLink"
    navigation_link: str = "@iot.navigationLink"
    next_link: str = "@iot.nextLink"
    count: str = "@iot.count"

    @property
    def segment(self) -> str:
        """The first segment of its URLs."""
        return f"v{self.version}"


V10 = ApiVersion("1.0", limits.PAGE_ROWS_V10, lenient=True, echoes=True, conformance=None)
V11 = ApiVersion("1.1", limits.PAGE_ROWS_V11, lenient=False, echoes=False, conformance=CONFORMANCE_V11)
VERSIONS: dict[str, ApiVersion] = {v.segment: v for v in (V10, V11)}
