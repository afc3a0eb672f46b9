"""A blocking client of the Engine API for the command line."""
