-- The key of the same step by no more than the files that it takes, where `key` names all that it could take: a cache that is
-- exported has both.

ALTER TABLE build_cache ADD COLUMN exact TEXT NOT NULL DEFAULT '';
