-- What was done leads to the credential that it was done with; what a person typed at the
-- login is beside it, not in place of it.

alter table api_key add column made_by text collate "C" not null default ''; -- the key that it was made with

alter table session add column as_name text collate "C" not null default '';
update session set as_name = name;
update session set name = coalesce((select k.name from api_key k where k.id = session.origin), 'admin');
update session set as_name = '' where as_name = name;

alter table audit add column key_id text collate "C" not null default '';
alter table audit add column as_name text collate "C" not null default '';
alter table audit add column times bigint not null default 1; -- how many alike it counts
create index audit_refused on audit (seq) where status >= 400;
