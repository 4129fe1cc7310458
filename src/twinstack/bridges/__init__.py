"""Archive (log to history), outbox (history to log), Kafka REST doors."""
