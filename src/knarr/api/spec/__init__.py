"""The pure half of the Engine API: JSON shapes, versions, time formats."""
