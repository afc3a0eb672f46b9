"""The engine as a Python library: async, typed, over a socket or in this process."""
