-- What a job costs in money, in millionths of the currency, and what is known of it: 0 nothing, 1 reserved, 2 estimated, 3 billed.
alter table job add column charge integer not null default 0;
alter table job add column currency text not null default '';
alter table job add column charge_state integer not null default 0;
create index job_charge on job (created_at) where charge_state > 0;
-- Limits on charges. Empty columns match all jobs.
create table budget (
	name text primary key,
	project_id text not null,
	user_id text not null,
	caller text not null,
	provider text not null,
	model text not null,
	period text not null,
	currency text not null,
	amount integer not null,
	warn integer not null,
	created_at integer not null,
	updated_at integer not null
) without rowid;
