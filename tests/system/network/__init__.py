"""Tests of the network room on the real kernel, each in network namespaces of its own."""
