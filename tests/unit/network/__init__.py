"""Tests of the network room that need no kernel."""
