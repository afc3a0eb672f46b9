"""What scripts/fuzz-api runs: no tests of their own."""
