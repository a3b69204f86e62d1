-- Events that applications published with a time of their own. When it comes, the row becomes an
-- event with the same source and dedupe key in one transaction.
create table scheduled (
    seq             integer primary key,
    id              text    not null unique,
    type            text    not null,
    data            blob    not null, -- empty once it is published or canceled
    sha256          blob    not null, -- of data
    project_id      text    not null,
    caller          text    not null, -- whose idempotency key it is
    published_by    text    not null,
    idempotency_key text    not null,
    dedupe          text    not null unique,
    state           integer not null check (state between 0 and 2),
    error           text    not null,
    run_at          integer not null,
    created_at      integer not null,
    updated_at      integer not null
);
create index scheduled_due on scheduled (run_at) where state = 0;
