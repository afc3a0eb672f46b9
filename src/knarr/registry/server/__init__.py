"""A registry over files."""
