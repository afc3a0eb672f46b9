"""The use cases; the only room with policy."""
