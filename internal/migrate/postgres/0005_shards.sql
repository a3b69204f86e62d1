-- needs: 5
-- Each connection that writes counts in rows of its own: writers of one row would wait for
-- each other's commits. Sums over all shards are the totals.
create sequence shard_seq as bigint;
alter table tally add column shard bigint not null default 0;
alter table tally drop constraint tally_pkey;
alter table tally add primary key (source, minute, shard);
