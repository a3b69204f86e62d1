-- Copies of files. stored_url, which no row has used so far, is the copy's key in the
-- storage of our own.
alter table media add column storage smallint not null default 0 check (storage between 0 and 4);
alter table media add column storage_error text collate "C" not null default '';
alter table media add column thumbnail text collate "C" not null default ''; -- its key
alter table media add column stored_at bigint;
-- What is to be done, and what failed: few rows at any time.
create index media_by_storage on media (storage, seq) where storage in (1, 3, 4);
-- One content is kept once; the last row that names it takes it along.
create index media_by_content on media (sha256) where sha256 <> '';
