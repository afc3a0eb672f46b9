"""Caches that travel, without an engine."""
