"""The use cases of images."""
