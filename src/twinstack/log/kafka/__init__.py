"""The log seam on Apache Kafka, and Kafka itself on this machine (`node`)."""
