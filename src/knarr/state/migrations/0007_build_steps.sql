-- Steps that builds ran, by their keys in build_cache: what the keys were made of, also when the results are gone.

CREATE TABLE build_steps (
    key         TEXT PRIMARY KEY,
    instruction TEXT NOT NULL,
    place       TEXT NOT NULL,          -- stage and number
    moment      INTEGER NOT NULL,
    parts       BLOB NOT NULL           -- build.explain.Parts, msgpack, deflated
) STRICT;
CREATE INDEX build_steps_by_instruction ON build_steps (instruction, moment);
CREATE INDEX build_steps_by_place ON build_steps (place, moment);
