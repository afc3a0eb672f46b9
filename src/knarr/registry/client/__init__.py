"""Pull and push against any registry."""
