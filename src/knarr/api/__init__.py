"""Both ends of the Docker Engine API."""
