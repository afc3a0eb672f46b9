"""Numbered steps of the schema: `NNNN_name.sql`, applied once and in order."""
