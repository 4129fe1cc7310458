"""The doors of the Kafka REST API v2: `/topics`, `/consumers` and `/brokers`, over any log."""

from twinstack.bridges.kafka_rest.app import Authorize, Caller, KafkaRestApp

__all__ = ["Authorize", "Caller", "KafkaRestApp"]
