"""One file a command of knarr-oci: `run(call)` does it and returns the exit code."""
