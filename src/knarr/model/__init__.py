"""Values and errors that every room shares: no I/O, no imports of ours."""
