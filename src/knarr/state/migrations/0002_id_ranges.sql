-- The ids that a container of --userns=auto has for itself: 65536 users and as many groups from `first` on.
CREATE TABLE id_ranges (
    container TEXT PRIMARY KEY REFERENCES containers (id) ON DELETE CASCADE,
    first     INTEGER NOT NULL UNIQUE
) STRICT;
