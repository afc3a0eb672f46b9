-- A container has an address of each family that a network has.

CREATE TABLE endpoints_of_two (
    container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    network   TEXT NOT NULL,
    address   TEXT,
    address6  TEXT,
    PRIMARY KEY (container, network),
    UNIQUE (network, address),
    UNIQUE (network, address6)
) STRICT;
INSERT INTO endpoints_of_two SELECT container, network, address, NULL FROM endpoints;
DROP TABLE endpoints;
ALTER TABLE endpoints_of_two RENAME TO endpoints;
