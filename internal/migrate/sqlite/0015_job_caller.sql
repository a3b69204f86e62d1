-- Whose a job's idempotency key is: keys of two callers never meet. Rows of older versions,
-- and those of gaff itself, have no caller.
alter table job add column caller text not null default '';
drop index job_by_key;
create unique index job_by_key on job (idempotency_key, caller) where idempotency_key <> '';
