"""What is told of a build beside its result: where it came from (SLSA provenance) and what is in it (SPDX). Pure."""
