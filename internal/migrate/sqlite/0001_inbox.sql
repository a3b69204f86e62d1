-- Times are microseconds since 1970, UTC. seq is the store's own number of a row: lists
-- page by it, other tables refer to it, and an event's id is made of it and received_at.

create table event (
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
    hop          integer not null,
    unique (source, dedupe)
);
-- Lists by source and status. seq stands at the end of every index on its own.
create index event_by_status on event (source, status);
create index event_by_processed on event (source, status, processed_at) where processed_at is not null;
create index event_by_parent on event (parent_id) where parent_id <> '';

-- Bodies apart from the log, so that finishing an event does not rewrite them.
create table payload (
    seq     integer primary key,
    request blob, -- JSON: method, url, address, headers, proof; null for inner events
    body    blob not null,
    data    blob  -- the body as JSON, where the body itself is not
);

create table copy (
    seq         integer not null, -- of the event
    n           integer not null,
    received_at integer not null,
    headers     blob not null,
    body        blob not null,
    primary key (seq, n)
) without rowid;

-- The delivery row is the queue row.
create table delivery (
    seq          integer not null, -- of the event
    n            integer not null,
    handler      text    not null,
    state        integer not null check (state between 0 and 5),
    attempts     integer not null default 0,
    max_attempts integer not null check (max_attempts > 0),
    run_at       integer not null,
    claim        integer not null default 0, -- counts stored claims, and fences them
    replaced     integer not null default 0, -- a replay took its place in the outcome
    leased_until integer,
    error        text    not null default '',
    created_at   integer not null,
    updated_at   integer not null,
    finished_at  integer,
    primary key (seq, n)
) without rowid;
create index delivery_due on delivery (run_at) where state < 3;
create index delivery_dead on delivery (state, seq) where state > 3;

create table attempt (
    seq        integer not null, -- of the event
    n          integer not null, -- of the delivery
    number     integer not null,
    outcome    text    not null,
    started_at integer not null,
    duration   integer not null, -- microseconds
    error      text    not null,
    detail     text    not null,
    primary key (seq, n, number)
) without rowid;

create table rejection (
    seq         integer primary key,
    id          text    not null unique,
    source      text    not null,
    status      integer not null,
    reason      text    not null,
    method      text    not null,
    url         text    not null,
    remote_addr text    not null,
    headers     blob    not null,
    body        blob    not null,
    body_size   integer not null,
    received_at integer not null
);

create table job (
    seq          integer primary key,
    id           text    not null unique,
    provider     text    not null,
    model        text    not null,
    kind         text    not null,
    project_id   text    not null,
    user_id      text    not null,
    request_id   text    not null,
    status       integer not null check (status between 0 and 4),
    result       blob,
    error        text    not null,
    error_type   text    not null,
    settled_by   text    not null,
    metadata     blob,
    created_at   integer not null,
    submitted_at integer,
    settled_at   integer,
    updated_at   integer not null
);
create unique index job_by_request on job (provider, request_id) where request_id <> '';
create index job_by_status on job (status);
create index job_by_project on job (project_id) where project_id <> '';

create table media (
    seq          integer primary key,
    id           text    not null unique,
    job_id       text    not null,
    position     text    not null,
    project_id   text    not null,
    url          text    not null,
    stored_url   text    not null,
    media_type   text    not null,
    content_type text    not null,
    size         integer not null,
    sha256       text    not null,
    metadata     blob,
    created_at   integer not null,
    unique (job_id, position)
);
create index media_by_project on media (project_id) where project_id <> '';

-- Events by minute and source: what came, and by how much each status grew or shrank.
-- Sums over all minutes are the exact totals.
create table tally (
    source   text    not null,
    minute   integer not null, -- since 1970
    received integer not null default 0,
    pending  integer not null default 0,
    success  integer not null default 0,
    error    integer not null default 0,
    rejected integer not null default 0,
    -- The events that were committed in it, to find a time in the log by its number.
    first_seq integer,
    last_seq  integer,
    primary key (source, minute)
) without rowid;

-- What the stream shows: one row for each commit.
create table change (
    seq   integer primary key,
    at    integer not null,
    items blob    not null -- JSON
);

create table setting (
    name  text primary key,
    value text not null
) without rowid;
