-- What a job costs in money, in millionths of the currency, and what is known of it: 0 nothing, 1 reserved, 2 estimated, 3 billed.
alter table job add column charge bigint not null default 0;
alter table job add column currency text collate "C" not null default '';
alter table job add column charge_state bigint not null default 0;
create index job_charge on job (created_at) where charge_state > 0;
-- Limits on charges. Empty columns match all jobs.
create table budget (
	name text collate "C" primary key,
	project_id text collate "C" not null,
	user_id text collate "C" not null,
	caller text collate "C" not null,
	provider text collate "C" not null,
	model text collate "C" not null,
	period text collate "C" not null,
	currency text collate "C" not null,
	amount bigint not null,
	warn bigint not null,
	created_at bigint not null,
	updated_at bigint not null
);
