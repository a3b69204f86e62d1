create table project (
    seq        integer primary key,
    id         text    not null unique,
    name       text    not null,
    owner      text    not null,
    metadata   blob,
    created_at integer not null,
    updated_at integer not null
);

-- Every definition that a run began with.
create table workflow (
    hash       text    primary key,
    name       text    not null,
    definition blob    not null,
    created_at integer not null
) without rowid;

create table run (
    seq        integer primary key,
    id         text    not null unique,
    workflow   text    not null,
    version    text    not null,
    project_id text    not null,
    user_id    text    not null,
    status     integer not null check (status between 0 and 3),
    input      blob    not null,
    error      text    not null,
    waiting    text    not null,
    cost       double precision not null,
    revision   integer not null,
    event_id   text    not null,
    hop        integer not null,
    key        text    not null,
    due_at     integer,
    created_at integer not null,
    updated_at integer not null,
    settled_at integer
);
create unique index run_by_key on run (workflow, key) where key <> '';
create index run_by_workflow on run (workflow, status);
create index run_by_status on run (status);
create index run_by_project on run (project_id) where project_id <> '';
create index run_open on run (version) where status = 0;

-- A step of a run (item -1), or one item of a step with for_each.
create table run_step (
    run         integer not null, -- seq of the run
    name        text    not null,
    item        integer not null,
    status      integer not null check (status between 0 and 8),
    attempt     integer not null,
    tries       integer not null,
    job_id      text    not null,
    input       blob,
    result      blob,
    error       text    not null,
    wait_source text    not null,
    wait_type   text    not null,
    wait_key    text    not null,
    event_id    text    not null,
    slot_a      text    not null,
    slot_b      text    not null,
    decider     text    not null,
    due_at      integer,
    cost        double precision not null,
    started_at  integer,
    settled_at  integer,
    updated_at  integer not null,
    primary key (run, name, item)
) without rowid;
create index run_step_by_job on run_step (job_id) where job_id <> '';
create index run_step_waiting on run_step (wait_source, wait_type, wait_key) where status = 3 and wait_source <> '';
create index run_step_queued_a on run_step (slot_a, updated_at) where status = 1 and slot_a <> '';
create index run_step_queued_b on run_step (slot_b, updated_at) where status = 1 and slot_b <> '';

-- How many places are taken under a limit.
create table slot (
    name    text    primary key,
    used    integer not null check (used >= 0),
    granted integer not null -- whether the last who asked got one
) without rowid;
