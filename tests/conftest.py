"""Services that several suites share."""

from services.kafka import kafka_node

__all__ = ["kafka_node"]
