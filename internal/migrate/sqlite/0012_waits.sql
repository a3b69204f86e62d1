-- How long jobs take from submit to end, by model: a moving mean and mean deviation of the
-- natural logarithm of the seconds. A row for each model; jobs do not wait for it.
create table job_wait (
    provider   text    not null,
    model      text    not null,
    n          integer not null,
    mean       double precision not null,
    deviation  double precision not null,
    updated_at integer not null,
    primary key (provider, model)
) without rowid;
create index job_wait_latest on job_wait (updated_at);
