"""The view of a source: what of its records exists for the app. It stands directly above the read.

Before FILTER, WHERE, dead letters and counters come the rows and fields that a grant shows. An own source, and every
source in lab mode, has the view of everything.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from twinstack.log.seam import Headers
from twinstack.query.streamsql import Columns


class View(Protocol):
    """What the planner needs of a view. Rows that it hides count nowhere, not even as errors."""

    @property
    def own(self) -> bool:
        """The data belongs to the app's side: what cannot be decoded goes to its dead letters, with raw bytes. Of a
        foreign source such a record is outside every view and is skipped silently."""
        ...

    @property
    def whole(self) -> bool:
        """Every field is shown: a record may be forwarded as its bytes."""
        ...

    @property
    def columns(self) -> frozenset[str]:
        """Columns that `visible` reads."""
        ...

    @property
    def headers(self) -> Headers:
        """Facts that each output carries (the grant and its version)."""
        ...

    def visible(self, columns: Columns) -> npt.NDArray[np.bool_] | None:
        """Which rows exist; None = all of them."""
        ...


class Everything:
    """The view of an own source."""

    own = True
    whole = True
    columns: frozenset[str] = frozenset()
    headers: Headers = ()

    def visible(self, columns: Columns) -> None:
        return None


EVERYTHING: View = Everything()
