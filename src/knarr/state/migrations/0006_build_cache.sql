-- What builds made, by the key of the operation and its inputs' contents. It keeps layers and blobs as images do.

CREATE TABLE build_cache (
    key         TEXT PRIMARY KEY,
    layers      TEXT NOT NULL,          -- JSON array of build.tree.Layer
    kind        TEXT NOT NULL,          -- BuildKit's record types: regular, source.local, exec.cachemount …
    description TEXT NOT NULL,
    created     INTEGER NOT NULL,
    used        INTEGER NOT NULL,
    uses        INTEGER NOT NULL,
    size        INTEGER NOT NULL        -- bytes of the topmost layer
) STRICT;

CREATE TABLE build_layers (
    key         TEXT NOT NULL REFERENCES build_cache (key) ON DELETE CASCADE,
    chain       TEXT NOT NULL,
    digest      TEXT NOT NULL,          -- the blob
    PRIMARY KEY (key, chain)
) STRICT;
CREATE INDEX build_layers_by_chain ON build_layers (chain);
