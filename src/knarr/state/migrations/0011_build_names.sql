-- What a cache elsewhere told of steps whose layers nobody needed yet: the layer's DiffID names what a later step is built on.

CREATE TABLE build_names (
    key         TEXT PRIMARY KEY,
    diff        TEXT NOT NULL,
    exact       TEXT NOT NULL           -- as in build_cache
) STRICT;
