-- Deliveries of one key in a lane may be kept in order, so that one stuck key stops no other.
alter table delivery add column okey text not null default '';
alter table delivery add column ordering integer not null default 0; -- gaff.Order
-- 1: waits for an earlier one of its key, with a due time that never comes; 2: dead, and
-- holds the others of its key.
alter table delivery add column held integer not null default 0;
create index delivery_key on delivery (lane, okey, seq, n) where okey <> '' and (state < 3 or held = 2);
create index delivery_lane_dead on delivery (lane, seq) where state = 4 and lane <> '';

-- What people set up while the gateway runs, by kind: JSON, with a revision over all of a
-- kind by which others see that something changed.
create table record (
    kind       text    not null,
    name       text    not null,
    value      blob    not null,
    revision   integer not null,
    updated_at integer not null,
    primary key (kind, name)
) without rowid;
create table record_revision (
    kind     text primary key,
    revision integer not null
) without rowid;
