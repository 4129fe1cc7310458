"""The printed lines of the client: logger `PR Client Logger`, shown on stderr while the program set up no logging."""

from __future__ import annotations

import logging
import sys

logger = logging.getLogger("PR Client Logger")


class _UntilConfigured(logging.StreamHandler):  # type: ignore[type-arg]
    """Silent as soon as the program configured the root logger: then that decides, and nothing appears twice."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            self.setStream(sys.stderr)  # the stream of now, not that of the import
            super().emit(record)


if not logger.handlers:
    handler = _UntilConfigured()
    handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
