"""Logging drivers that a plain container does without: each module is imported by the shim that uses it, and by no other."""
