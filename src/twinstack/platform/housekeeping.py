"""What the server tidies up beside its work: history that is older than it is kept for."""

from __future__ import annotations

import logging
import threading

from twinstack.core import limits
from twinstack.core.errors import TwinstackError
from twinstack.sensorthings.store import Store, retention

log = logging.getLogger(__name__)


class Housekeeping:
    """A thread that deletes what is due, a minute after the start and then hourly; others write in between."""

    def __init__(
        self,
        store: Store,
        default_ms: int | None,
        *,
        first_s: float = limits.RETENTION_FIRST_MS / 1000,
        every_s: float = limits.RETENTION_EVERY_MS / 1000,
    ) -> None:
        self._store = store
        self._default_ms = default_ms
        self._first_s = first_s
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends after the slice under way."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        pause_s = self._first_s
        while not self._stop.wait(pause_s):
            pause_s = self._every_s
            try:
                deleted = retention.run(self._store, self._default_ms, stopped=self._stop.is_set)
            except TwinstackError as error:
                log.warning("retention: %s", error)
                continue
            except Exception:
                log.exception("retention failed")
                continue
            if deleted.observations:
                where = len(deleted.datastreams)
                log.info("retention: %d Observations of %d Datastreams deleted", deleted.observations, where)
