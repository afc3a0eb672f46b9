"""What is told of a build."""
