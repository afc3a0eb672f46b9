"""knarrd as a service of the system: TLS, configuration and reload, activation and notification."""
