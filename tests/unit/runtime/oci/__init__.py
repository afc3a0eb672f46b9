"""Tests of knarr-oci."""
