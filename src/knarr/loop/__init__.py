"""What the asyncio rooms share to meet the blocking world: blocking(), packet channels, task groups."""
