"""The embedded log: one SQLite file, one process, the whole seam. Start reading at `log.py`."""

from twinstack.log.embedded.log import EmbeddedLog

__all__ = ["EmbeddedLog"]
