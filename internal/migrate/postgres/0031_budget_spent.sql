-- What the periods of budgets cost, which each change of a charge adds to, and what a full budget does.
alter table budget add column action text collate "C" not null default 'refuse';
create table budget_spent (
	name text collate "C" not null,
	since bigint not null,
	amount bigint not null,
	primary key (name, since)
);
-- Budgets that exist: their current period, in UTC.
insert into budget_spent (name, since, amount)
	select b.name, p.since, (select coalesce(sum(j.charge), 0) from (
		select provider, model, project_id, user_id, caller, created_at, charge, currency from job where charge_state > 0
		union all select a.provider, a.model, j.project_id, j.user_id, j.caller, j.created_at, a.charge, a.currency
			from job_attempt a join job j on j.id = a.job_id where a.charge_state > 0) j
		where j.created_at >= p.since and j.currency = b.currency
			and (b.project_id = '' or b.project_id = j.project_id) and (b.user_id = '' or b.user_id = j.user_id)
			and (b.caller = '' or b.caller = j.caller) and (b.provider = '' or b.provider = j.provider)
			and (b.model = '' or b.model = j.model))
	from budget b join (
		select 'day'::text collate "C" as period, cast(extract(epoch from date_trunc('day', now() at time zone 'UTC') at time zone 'UTC') as bigint) * 1000000 as since
		union all select 'month', cast(extract(epoch from date_trunc('month', now() at time zone 'UTC') at time zone 'UTC') as bigint) * 1000000) p on p.period = b.period;
-- Jobs that wait for an approval.
create index job_held on job (seq) where submit = 6;
