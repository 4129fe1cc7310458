"""`from client.digital_twin_client import DigitalTwinClient`, as programs of the original platform write it.

Arguments and methods are the same. What differs: the SensorThings port (`gost_servers`) is the platform's, 1908 unless
configured, and where the platform runs on its embedded log, `kafka_bootstrap_servers="localhost:9092"` becomes
`kafka_rest_server="localhost:1908"`.
"""

from twinstack import DigitalTwinClient

__all__ = ["DigitalTwinClient"]
