"""seccomp profiles (Docker's and OCI's JSON) become BPF programs; pure, run by the engine, cached by it."""
