-- The erasure of a job finds the jobs that have its result.
create index job_reused on job (reused_from) where reused_from <> '';
