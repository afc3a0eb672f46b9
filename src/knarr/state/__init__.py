"""The one SQLite database: connection, single writer, numbered migrations."""
