-- A row of events costs one page in each commit: numbers are in the order of time, so neither an index nor SQLite's own
-- table of used numbers (AUTOINCREMENT) is needed; the newest row is never deleted, so no number comes twice.

CREATE TABLE events_kept (
    number   INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    type     TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT NOT NULL,             -- the object's id
    attributes TEXT NOT NULL            -- JSON object
) STRICT;
INSERT INTO events_kept SELECT number, at, type, action, subject, attributes FROM events;
DROP TABLE events;
ALTER TABLE events_kept RENAME TO events;
