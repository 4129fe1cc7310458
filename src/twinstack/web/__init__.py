"""One server: pages, REST API, SensorThings, health and metrics."""
