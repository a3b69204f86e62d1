-- The candidates of a job that has a fallback, and what came of the former ones. attempt counts the
-- candidates that were used, from 1; 0 is a job with one provider only.
alter table job add column attempt bigint not null default 0;
create table job_plan (
	job_id text collate "C" primary key,
	plan bytea not null,
	since bigint not null
);
create table job_attempt (
	job_id text collate "C" not null,
	attempt bigint not null,
	provider text collate "C" not null,
	model text collate "C" not null,
	request_id text collate "C" not null,
	error text collate "C" not null,
	error_type text collate "C" not null,
	cost text collate "C" not null,
	charge bigint not null,
	currency text collate "C" not null,
	charge_state bigint not null,
	sent_at bigint,
	ended_at bigint not null,
	primary key (job_id, attempt)
);
create index job_attempt_request on job_attempt (provider, request_id) where request_id <> '';
