"""DigitalTwinClient and its transports."""

from twinstack.client.aio import AsyncDigitalTwinClient
from twinstack.client.digital_twin_client import DigitalTwinClient
from twinstack.client.logs import LogLine
from twinstack.client.metadata import Registration
from twinstack.client.receipts import Receipt
from twinstack.client.record import Record

__all__ = ["AsyncDigitalTwinClient", "DigitalTwinClient", "LogLine", "Receipt", "Record", "Registration"]
