"""BuildKit's front door: gRPC over taken-over connections, and the sessions through which clients lend what a build needs."""
