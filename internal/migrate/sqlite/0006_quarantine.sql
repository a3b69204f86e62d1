-- Refused requests as they came, to be verified again; apart from what is shown of them.
create table quarantine (
    seq          integer primary key,
    rejection_id text    not null unique,
    received_at  integer not null,
    size         integer not null,
    request      blob    not null, -- as in payload
    body         blob    not null
);
alter table rejection add column rescued_as text not null default '';

-- When a key last proved a request of a source: what rotation must know.
create table key_use (
    source  text    not null,
    key_id  text    not null,
    first_at integer not null,
    last_at integer not null,
    primary key (source, key_id)
) without rowid;
