"""gRPC over HTTP/2 on connections that exist already: both halves, on asyncio or on any other loop."""
