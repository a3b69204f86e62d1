-- How long jobs take from submit to end, by model: a moving mean and mean deviation of the
-- natural logarithm of the seconds. A row for each model; jobs do not wait for it.
create table job_wait (
    provider   text   collate "C" not null,
    model      text   collate "C" not null,
    n          bigint not null,
    mean       double precision not null,
    deviation  double precision not null,
    updated_at bigint not null,
    primary key (provider, model)
);
create index job_wait_latest on job_wait (updated_at);
