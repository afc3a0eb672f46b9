-- Volumes without a row whose files are still on their way to the trash.
CREATE TABLE leaving_volumes (
    name TEXT PRIMARY KEY
) STRICT;
