"""OGC SensorThings: metadata and history behind one store seam, served over HTTP."""
