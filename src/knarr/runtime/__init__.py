"""OCI runtime spec to process: namespaces, cgroups, mounts, seccomp; the shim."""
