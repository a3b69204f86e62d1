-- Who may do what. Secrets are kept as hashes.

create table api_key (
    seq            integer primary key,
    id             text    not null unique,
    hash           text    not null unique,
    name           text    not null,
    role           integer not null check (role between 1 and 3),
    hint           text    not null, -- the end of the secret
    created_by     text    not null,
    created_at     integer not null,
    expires_at     integer,
    revoked_at     integer,
    last_used_at   integer,
    last_used_from text    not null default ''
);

create table session (
    seq          integer primary key,
    id           text    not null unique,
    hash         text    not null unique,
    name         text    not null,
    role         integer not null check (role between 1 and 3),
    origin       text    not null, -- what it was opened with: a key's id, or token:fingerprint
    address      text    not null,
    agent        text    not null,
    created_at   integer not null,
    expires_at   integer not null,
    last_used_at integer not null,
    ended_at     integer
);
create index session_by_origin on session (origin);
create index session_by_expiry on session (expires_at);

create table login_link (
    hash       text    primary key,
    name       text    not null,
    role       integer not null check (role between 1 and 3),
    origin     text    not null,
    expires_at integer not null
) without rowid;

create table audit (
    seq     integer primary key,
    id      text    not null unique,
    at      integer not null,
    actor   text    not null,
    role    integer not null,
    via     text    not null,
    via_id  text    not null,
    address text    not null,
    action  text    not null,
    target  text    not null,
    status  integer not null,
    detail  blob -- JSON
);
create index audit_by_actor on audit (actor);
create index audit_by_action on audit (action);
create index audit_by_target on audit (target) where target <> '';
