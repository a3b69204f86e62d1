-- Deliveries of one key in a lane may be kept in order, so that one stuck key stops no other.
alter table delivery add column okey text collate "C" not null default '';
alter table delivery add column ordering integer not null default 0;
alter table delivery add column held integer not null default 0;
create index delivery_key on delivery (lane, okey, seq, n) where okey <> '' and (state < 3 or held = 2);
create index delivery_lane_dead on delivery (lane, seq, n) where state = 4 and lane <> '';

-- What people set up while the gateway runs, by kind.
create table record (
    kind       text   collate "C" not null,
    name       text   collate "C" not null,
    value      bytea  not null,
    revision   bigint not null,
    updated_at bigint not null,
    primary key (kind, name)
);
create table record_revision (
    kind     text   collate "C" primary key,
    revision bigint not null
);
