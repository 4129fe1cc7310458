"""Topics that must be there: made together, because a cluster needs as long for one of them as for twenty."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from twinstack.core.errors import Conflict
from twinstack.log.seam import Admin, TopicSpec

log = logging.getLogger(__name__)


def ensure_topics(admin: Admin, specs: Sequence[TopicSpec]) -> None:
    """Makes the topics that are missing. One that exists with other partitions is kept as it is: `setup topics`, or the
    original platform, may have made it, and it serves as well."""
    try:
        admin.create_topics(specs)
    except Conflict:  # of one of them: the others are made all the same
        for spec in specs:
            _ensure(admin, spec)


def _ensure(admin: Admin, spec: TopicSpec) -> None:
    try:
        admin.create_topics([spec])
    except Conflict as error:
        log.info("%s is kept as it is: %s", spec.name, error.message)
