"""The log seam on Apache Kafka (`KafkaLog`), and Kafka itself on this machine (`node`)."""

from twinstack.log.kafka.log import KafkaLog

__all__ = ["KafkaLog"]
