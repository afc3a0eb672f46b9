"""Blobs by digest on disk, leases, mark-and-sweep collection."""
