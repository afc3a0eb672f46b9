-- One row a thing. Values that only the engine reads are JSON; what must be unique or found by is a column.

CREATE TABLE images (
    id       TEXT PRIMARY KEY,          -- the configuration's digest
    created  INTEGER NOT NULL,          -- nanoseconds, as all times
    tagged   INTEGER NOT NULL DEFAULT 0,
    value    TEXT NOT NULL              -- model.image.Image
) STRICT;

CREATE TABLE image_names (
    name     TEXT PRIMARY KEY,          -- docker.io/library/nginx:latest, or …@sha256:…
    image    TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX image_names_by_image ON image_names (image);

CREATE TABLE image_layers (
    image    TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    chain    TEXT NOT NULL,             -- ChainID: the snapshot's key
    diff     TEXT NOT NULL,             -- DiffID
    PRIMARY KEY (image, position)
) STRICT;
CREATE INDEX image_layers_by_chain ON image_layers (chain);

CREATE TABLE layers (
    chain    TEXT PRIMARY KEY,
    diff     TEXT NOT NULL,
    size     INTEGER NOT NULL           -- bytes unpacked
) STRICT;

CREATE TABLE image_blobs (              -- what must not be collected while the image lives
    image    TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    digest   TEXT NOT NULL,
    PRIMARY KEY (image, digest)
) STRICT;
CREATE INDEX image_blobs_by_digest ON image_blobs (digest);

CREATE TABLE containers (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    created  INTEGER NOT NULL,
    image    TEXT NOT NULL,             -- the image's id
    status   TEXT NOT NULL,             -- model.container.Status, intents included
    spec     TEXT NOT NULL,             -- model.container.ContainerSpec, merged with the image's configuration
    state    TEXT NOT NULL,             -- model.container.ContainerState
    extra    TEXT NOT NULL              -- the engine's own: chain, mounts, endpoint plans
) STRICT;
CREATE INDEX containers_by_image ON containers (image);

CREATE TABLE endpoints (
    container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    network   TEXT NOT NULL,
    address   TEXT NOT NULL,
    PRIMARY KEY (container, network),
    UNIQUE (network, address)
) STRICT;

CREATE TABLE published (
    container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    host_ip   TEXT NOT NULL,
    host_port INTEGER NOT NULL,
    protocol  TEXT NOT NULL,
    UNIQUE (host_ip, host_port, protocol)
) STRICT;
CREATE INDEX published_by_container ON published (container);

CREATE TABLE volumes (
    name     TEXT PRIMARY KEY,
    created  INTEGER NOT NULL,
    value    TEXT NOT NULL              -- driver, labels, options, whether anonymous
) STRICT;

CREATE TABLE volume_uses (
    volume    TEXT NOT NULL REFERENCES volumes (name),
    container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    PRIMARY KEY (volume, container)
) STRICT;
CREATE INDEX volume_uses_by_container ON volume_uses (container);

CREATE TABLE networks (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    created  INTEGER NOT NULL,
    value    TEXT NOT NULL
) STRICT;

CREATE TABLE events (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    type     TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT NOT NULL,             -- the object's id
    attributes TEXT NOT NULL            -- JSON object
) STRICT;
CREATE INDEX events_by_time ON events (at);

CREATE TABLE settings (
    key      TEXT PRIMARY KEY,
    value    TEXT NOT NULL
) STRICT;
