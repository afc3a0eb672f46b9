"""The pure half of the distribution protocol: shapes, headers, errors."""
