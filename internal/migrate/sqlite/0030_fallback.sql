-- The candidates of a job that has a fallback, and what came of the former ones. attempt counts the
-- candidates that were used, from 1; 0 is a job with one provider only.
alter table job add column attempt integer not null default 0;
create table job_plan (
	job_id text primary key,
	plan blob not null,
	since integer not null
) without rowid;
create table job_attempt (
	job_id text not null,
	attempt integer not null,
	provider text not null,
	model text not null,
	request_id text not null,
	error text not null,
	error_type text not null,
	cost text not null,
	charge integer not null,
	currency text not null,
	charge_state integer not null,
	sent_at integer,
	ended_at integer not null,
	primary key (job_id, attempt)
) without rowid;
create index job_attempt_request on job_attempt (provider, request_id) where request_id <> '';
