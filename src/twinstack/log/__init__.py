"""The log seam: topics, producer, consumer, transaction, admin; implementations embedded, http, kafka."""
