-- What gaff submits itself: how far the submit has come, where the provider keeps the
-- work, and when it will be asked after it.
alter table job add column submit integer not null default 0;
alter table job add column sent_at bigint;
alter table job add column account text collate "C" not null default '';
alter table job add column idempotency_key text collate "C" not null default '';
alter table job add column run_id text collate "C" not null default '';
alter table job add column step_id text collate "C" not null default '';
alter table job add column status_url text collate "C" not null default '';
alter table job add column response_url text collate "C" not null default '';
alter table job add column cancel_url text collate "C" not null default '';
alter table job add column webhook_url text collate "C" not null default '';
alter table job add column callback text collate "C" not null default '';
alter table job add column cost text collate "C" not null default '';
alter table job add column next_ask_at bigint;
alter table job add column asks integer not null default 0;
alter table job add column misses integer not null default 0;
alter table job add column owed_by text collate "C" not null default '';
alter table job add column call_key text collate "C" not null default '';
create unique index job_by_key on job (idempotency_key) where idempotency_key <> '';
create index job_by_ask on job (provider, next_ask_at) where next_ask_at is not null;
create index job_by_call on job (call_key, seq) where owed_by <> '';
create index job_by_run on job (run_id, seq) where run_id <> '';

-- Apart from the job, so that lists and changes of status do not carry it.
create table job_input (
    job_id text  collate "C" primary key,
    input  bytea not null
);

create table job_note (
    job_id text    collate "C" not null,
    n      bigint  not null,
    at     bigint  not null,
    what   text    collate "C" not null,
    text   text    collate "C" not null,
    primary key (job_id, n)
);
