"""Sans-I/O codecs: bytes to values and back. Nothing here awaits, opens or sleeps."""
