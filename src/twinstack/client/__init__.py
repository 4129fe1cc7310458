"""DigitalTwinClient and its transports."""
