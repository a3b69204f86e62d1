-- SHA-256 of what was received, checked whenever it is read. Rows of older versions have none.
alter table payload add column sha256 blob;
alter table payload add column data_sha256 blob; -- null if data is null
alter table copy add column sha256 blob;
