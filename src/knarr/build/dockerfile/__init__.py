"""The Dockerfile language: text to a graph of operations and an image configuration. Pure: no system call, no clock."""
