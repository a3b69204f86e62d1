-- Hashes of erased ids, so that a late webhook does not create an erased job again.
create table erased (
    hash text primary key,
    at   integer not null
);
create index erased_by_time on erased (at);

-- Copies of files that no row names any more, to be deleted from storage.
create table erased_file (
    name text primary key, -- the key in storage
    at   integer not null
);
