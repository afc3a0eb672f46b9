"""Wires a named network namespace: bridge, veth, addresses, published ports."""
