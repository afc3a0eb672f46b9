"""The name server of containers on user-defined networks, at 127.0.0.11 in their own namespace."""
