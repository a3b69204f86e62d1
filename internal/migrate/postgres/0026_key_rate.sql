-- How many requests a second a key may make; 0 for no limit.
alter table api_key add column rate bigint not null default 0;
