"""Both ends of the OCI distribution protocol."""
