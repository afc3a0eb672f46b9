"""What surrounds the engine as a service of the system: its configuration, its sockets, its supervisor, its own log."""
