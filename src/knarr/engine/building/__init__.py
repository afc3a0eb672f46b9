"""Builds on this engine: its images, layers and processes as the build room's solver wants them."""
