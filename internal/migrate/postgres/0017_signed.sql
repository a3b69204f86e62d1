-- What was signed, of events whose id the signature does not cover, and the key of the first
-- event that it came with.
create table signed (
    source text collate "C" not null,
    hash   text collate "C" not null,
    dedupe text collate "C" not null,
    primary key (source, hash)
);
create index signed_by_event on signed (source, dedupe);
