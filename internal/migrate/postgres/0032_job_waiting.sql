-- Jobs that wait to be submitted, for their position.
create index job_waiting on job (provider, seq) where submit = 1;
