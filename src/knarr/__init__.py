"""knarr: a container engine behind Docker's own API."""
