-- The secret part of a file's permanent links; empty without them.
alter table media add column link_token text collate "C" not null default '';
create unique index media_by_link_token on media (link_token) where link_token <> '';
-- 1: files of the project get such a link when their copies are stored.
alter table project add column public_media bigint not null default 0;
