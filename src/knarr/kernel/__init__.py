"""One thin function per system call or kernel file format; no policy."""
