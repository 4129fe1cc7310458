"""What the demo measures: cars on tracks through Salzburg and the temperature of the air."""
