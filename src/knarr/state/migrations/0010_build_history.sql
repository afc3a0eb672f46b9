-- The records of builds that are over, and the blobs that they keep: logs, provenance, manifests.

CREATE TABLE build_records (
    ref       TEXT PRIMARY KEY,
    completed INTEGER NOT NULL,
    pinned    INTEGER NOT NULL DEFAULT 0,
    record    BLOB NOT NULL             -- moby.buildkit.v1.BuildHistoryRecord
) STRICT;

CREATE TABLE build_record_blobs (
    ref       TEXT NOT NULL REFERENCES build_records (ref) ON DELETE CASCADE,
    digest    TEXT NOT NULL,
    PRIMARY KEY (ref, digest)
) STRICT;
CREATE INDEX build_record_blobs_by_digest ON build_record_blobs (digest);
