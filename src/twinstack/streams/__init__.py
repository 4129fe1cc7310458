"""Stream apps: plan, operators, exactly-once task, worker."""
