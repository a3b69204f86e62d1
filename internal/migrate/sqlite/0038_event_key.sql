-- needs: 38
-- The keys of events apart from the events, so that they need not be written when the event is
-- (internal/sqlstore/eventkeys.go): here are those of the events up to the number in the setting
-- event_keys, and of some later ones.
create table event_key (
    source text    not null,
    dedupe text    not null,
    seq    integer not null, -- of the event
    primary key (source, dedupe)
) without rowid;
insert into event_key (source, dedupe, seq) select source, dedupe, seq from event order by source, dedupe;
insert into setting (name, value) select 'event_keys', cast(coalesce(max(seq), 0) as text) from event;

-- The same table without its unique key, which SQLite cannot remove.
create table event_without_key (
    seq          integer primary key,
    source       text    not null,
    type         text    not null,
    webhook_id   text    not null,
    dedupe       text    not null,
    correlation  text    not null,
    handle       text    not null,
    status       integer not null check (status between 0 and 2),
    unhandled    integer not null check (unhandled in (0, 1)),
    open         integer not null check (open >= 0), -- deliveries that are not done
    dead         integer not null check (dead >= 0), -- deliveries that are dead or canceled
    error        text    not null default '',
    retry_count  integer not null default 0,
    duplicates   integer not null default 0,
    conflict     integer not null default 0 check (conflict in (0, 1)),
    occurred_at  integer,
    received_at  integer not null,
    processed_at integer,
    updated_at   integer not null,
    parent_id    text    not null,
    hop          integer not null
);
insert into event_without_key (seq, source, type, webhook_id, dedupe, correlation, handle, status, unhandled, open, dead, error,
    retry_count, duplicates, conflict, occurred_at, received_at, processed_at, updated_at, parent_id, hop)
    select seq, source, type, webhook_id, dedupe, correlation, handle, status, unhandled, open, dead, error,
    retry_count, duplicates, conflict, occurred_at, received_at, processed_at, updated_at, parent_id, hop from event order by seq;
drop table event;
alter table event_without_key rename to event;
create index event_by_status on event (source, status);
create index event_by_processed on event (source, status, processed_at) where processed_at is not null;
create index event_by_parent on event (parent_id) where parent_id <> '';

-- All keys. One that is being moved may be there twice.
create view event_by_key as
    select source, dedupe, seq from event_key
    union all
    select source, dedupe, seq from event not indexed where seq > (select cast(value as integer) from setting where name = 'event_keys');
