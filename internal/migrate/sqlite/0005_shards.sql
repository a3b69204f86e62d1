-- needs: 5
-- Where several connections write (PostgreSQL), each counts in rows of its own. Here one
-- does, shard 0; the tables are the same.
create table tally_shards (
    source    text    not null,
    minute    integer not null, -- since 1970
    received  integer not null default 0,
    pending   integer not null default 0,
    success   integer not null default 0,
    error     integer not null default 0,
    rejected  integer not null default 0,
    first_seq integer, -- of the events that were committed in it
    last_seq  integer,
    shard     integer not null default 0,
    primary key (source, minute, shard)
) without rowid;
insert into tally_shards (source, minute, received, pending, success, error, rejected, first_seq, last_seq)
    select source, minute, received, pending, success, error, rejected, first_seq, last_seq from tally;
drop table tally;
alter table tally_shards rename to tally;
