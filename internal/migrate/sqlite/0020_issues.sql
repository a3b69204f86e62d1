-- Failures of one kind, source, handler, status and error. The id is a hash of these.
create table issue (
    id          text primary key,
    kind        integer not null check (kind in (0, 1)), -- dead deliveries, rejected requests
    source      text not null,
    handler     text not null,
    http_status integer not null,
    error       text not null,
    state       integer not null check (state between 0 and 3), -- open, acknowledged, resolved, ignored
    muted       integer not null check (muted in (0, 1)),
    count       integer not null,
    first_at    integer not null,
    last_at     integer not null,
    opened_at   integer not null,
    changed_at  integer,
    changed_by  text not null,
    last_ref    text not null
);
create index issue_by_last on issue (last_at);

-- The dead deliveries of an issue.
create table issue_item (
    seq   integer not null,
    n     integer not null,
    issue text not null,
    primary key (seq, n)
) without rowid;
create index issue_item_by_issue on issue_item (issue, seq, n);

-- What needs an operator's attention, by kind (the type of its event) and cause.
create table alert (
    kind       text not null,
    cause      text not null,
    active     integer not null check (active in (0, 1)),
    title      text not null,
    data       blob not null,
    count      integer not null,
    since      integer not null,
    seen_at    integer not null,
    ended_at   integer,
    emitted_at integer,
    emitted    integer not null, -- the count at that time
    updated_at integer not null,
    primary key (kind, cause)
);

-- What a channel was sent about an alert.
create table alert_notice (
    channel text not null,
    kind    text not null,
    cause   text not null,
    active  integer not null check (active in (0, 1)),
    count   integer not null,
    sent_at integer not null,
    primary key (channel, kind, cause)
);
