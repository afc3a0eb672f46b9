"""knarr-oci: the runtime as a command of its own, with runc's words."""
