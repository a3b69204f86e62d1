-- What was signed, of events whose id the signature does not cover, and the key of the first
-- event that it came with.
create table signed (
    source text not null,
    hash   text not null,
    dedupe text not null,
    primary key (source, hash)
) without rowid;
create index signed_by_event on signed (source, dedupe);
