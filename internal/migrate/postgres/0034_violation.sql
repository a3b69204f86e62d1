-- How events violate the JSON Schema of their source and type. It ends with the event's body: it
-- names members of it.
create table violation (
    seq      bigint primary key, -- of the event
    problems bigint not null,
    detail   bytea  not null     -- JSON
);
