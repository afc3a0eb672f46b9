"""Units of what surrounds the engine."""
