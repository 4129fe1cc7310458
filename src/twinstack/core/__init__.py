"""What everything speaks: names, observations, timestamps, limits, errors, settings."""
