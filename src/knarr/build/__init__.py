"""Image building: a second user of the rooms below the engine."""
