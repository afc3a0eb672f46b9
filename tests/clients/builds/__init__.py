"""Dockerfiles that dockerd's BuildKit and knarr must build alike; `golden.json` holds dockerd's answers."""
