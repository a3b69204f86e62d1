-- Results that answer equal submits. reuse_key is a hash of model, input, project and user, of jobs whose
-- result may be reused; reused_from the job whose result this one has, and saved what that avoided.
alter table job add column reuse_key text collate "C" not null default '';
alter table job add column reused_from text collate "C" not null default '';
alter table job add column saved bigint not null default 0;
create index job_reuse on job (reuse_key, seq) where reuse_key <> '';
