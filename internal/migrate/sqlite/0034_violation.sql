-- How events violate the JSON Schema of their source and type. It ends with the event's body: it
-- names members of it.
create table violation (
    seq      integer primary key, -- of the event
    problems integer not null,
    detail   blob    not null     -- JSON
);
