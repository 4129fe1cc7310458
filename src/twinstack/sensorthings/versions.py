"""What differs between the versions of the API: one table, from which paths, answers and the service root are made.

OGC 15-078r6 (1.0) and OGC 18-088 (1.1) share annotation names; a version that changes them changes this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from twinstack.core import limits
from twinstack.sensorthings import conformance
from twinstack.sensorthings.model import EntityType, Version, sets_of


@dataclass(frozen=True)
class ApiVersion:
    """`lenient`: links in `$expand` may stand in the singular or plural and in any case (old clients).
    `echoes`: PATCH and POST answer with the whole entity, Observations included."""

    version: Version
    page_rows: int
    lenient: bool
    echoes: bool
    conformance: tuple[str, ...] | None
    id: str = "@iot.id"
    self_link: str = "@iot.selfLink"
    navigation_link: str = "@iot.navigationLink"
    next_link: str = "@iot.nextLink"
    count: str = "@iot.count"

    @cached_property
    def sets(self) -> Mapping[str, EntityType]:
        return sets_of(self.version)

    @property
    def segment(self) -> str:
        """The first segment of its URLs."""
        return f"v{self.version}"


V10 = ApiVersion("1.0", limits.PAGE_ROWS_V10, lenient=True, echoes=True, conformance=None)
V11 = ApiVersion("1.1", limits.PAGE_ROWS_V11, lenient=False, echoes=False, conformance=conformance.V11)
VERSIONS: dict[str, ApiVersion] = {v.segment: v for v in (V10, V11)}
