"""Addresses that a client and its builder agree on."""

UPLOADED = "http://buildkit-session/"
"""Begins the addresses of what a client uploads itself."""
