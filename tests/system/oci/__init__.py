"""knarr-oci on the real kernel."""
