"""Caches that travel, by registries, by clients' directories and inside images."""
