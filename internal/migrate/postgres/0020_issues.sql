-- Failures of one kind, source, handler, status and error. The id is a hash of these.
create table issue (
    id          text collate "C" primary key,
    kind        smallint not null check (kind in (0, 1)), -- dead deliveries, rejected requests
    source      text collate "C" not null,
    handler     text collate "C" not null,
    http_status integer not null,
    error       text collate "C" not null,
    state       smallint not null check (state between 0 and 3), -- open, acknowledged, resolved, ignored
    muted       smallint not null check (muted in (0, 1)),
    count       bigint not null,
    first_at    bigint not null,
    last_at     bigint not null,
    opened_at   bigint not null,
    changed_at  bigint,
    changed_by  text collate "C" not null,
    last_ref    text collate "C" not null
);
create index issue_by_last on issue (last_at);

-- The dead deliveries of an issue.
create table issue_item (
    seq   bigint not null,
    n     integer not null,
    issue text collate "C" not null,
    primary key (seq, n)
);
create index issue_item_by_issue on issue_item (issue, seq, n);

-- What needs an operator's attention, by kind (the type of its event) and cause.
create table alert (
    kind       text collate "C" not null,
    cause      text collate "C" not null,
    active     smallint not null check (active in (0, 1)),
    title      text collate "C" not null,
    data       bytea not null,
    count      bigint not null,
    since      bigint not null,
    seen_at    bigint not null,
    ended_at   bigint,
    emitted_at bigint,
    emitted    bigint not null, -- the count at that time
    updated_at bigint not null,
    primary key (kind, cause)
);

-- What a channel was sent about an alert.
create table alert_notice (
    channel text collate "C" not null,
    kind    text collate "C" not null,
    cause   text collate "C" not null,
    active  smallint not null check (active in (0, 1)),
    count   bigint not null,
    sent_at bigint not null,
    primary key (channel, kind, cause)
);
