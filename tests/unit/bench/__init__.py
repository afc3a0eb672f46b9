"""The statistics and the client of the benchmarks."""
