"""The process that holds a container: reaps it, carries its streams, writes its log, and outlives the daemon."""
