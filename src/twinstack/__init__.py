"""Digital Twin Stack: live data between companies over Apache Kafka and OGC SensorThings."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["AsyncDigitalTwinClient", "DigitalTwinClient", "__version__"]

if TYPE_CHECKING:
    from twinstack.client import AsyncDigitalTwinClient, DigitalTwinClient


def __getattr__(name: str) -> Any:
    # Lazy, so that `import twinstack.core...` on a hot start-up path does not pull in the HTTP client.
    if name in {"DigitalTwinClient", "AsyncDigitalTwinClient"}:
        from twinstack import client

        return getattr(client, name)
    raise AttributeError(f"module 'twinstack' has no attribute {name!r}")
