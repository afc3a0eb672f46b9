"""An HTTP/1.1 server core on asyncio: heads, bodies, chunks, and connections that a handler takes over."""
