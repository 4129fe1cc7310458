"""What moves whole stores: export, import, and the copy of another party's SensorThings server."""
