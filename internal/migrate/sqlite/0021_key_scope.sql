-- What a key is limited to, as JSON; empty for everything that its role allows.
alter table api_key add column scope text not null default '';
