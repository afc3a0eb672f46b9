"""Control groups, version 1 and 2: the files, not the policy."""
