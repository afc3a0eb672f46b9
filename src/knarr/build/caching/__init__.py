"""Caches that travel: how a build's cache is written for others, and what others wrote is read. Pure."""
