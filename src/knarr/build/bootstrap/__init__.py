"""Base images from a distribution's own packages."""
