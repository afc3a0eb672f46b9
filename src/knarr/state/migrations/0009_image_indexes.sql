-- Images of several platforms, or with attestations: an index leads to manifests, each of an image of its own.

CREATE TABLE image_indexes (
    digest   TEXT PRIMARY KEY,          -- of the index
    image    TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE    -- the one that stands for it
) STRICT;
CREATE INDEX image_indexes_by_image ON image_indexes (image);

CREATE TABLE image_members (
    via      TEXT NOT NULL REFERENCES image_indexes (digest) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    manifest TEXT NOT NULL,
    image    TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    PRIMARY KEY (via, position)
) STRICT;
CREATE INDEX image_members_by_image ON image_members (image);

-- What a name leads to where that is not the image's own manifest: an index, or another manifest of the same configuration.
ALTER TABLE image_names ADD COLUMN via TEXT;
