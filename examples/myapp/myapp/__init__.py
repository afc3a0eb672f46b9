"""A guest book in memory."""
