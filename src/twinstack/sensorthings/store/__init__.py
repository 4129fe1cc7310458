"""The store: tables, write path and readers of metadata and history; one contract for every database."""

from twinstack.sensorthings.store.context import Created, WriteContext
from twinstack.sensorthings.store.store import Store, open_store
from twinstack.sensorthings.store.values import NewObservation

__all__ = ["Created", "NewObservation", "Store", "WriteContext", "open_store"]
