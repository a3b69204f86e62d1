-- The values that records had, such as the revisions of workflows.
create table record_history (
	kind text collate "C" not null,
	name text collate "C" not null,
	revision bigint not null,
	value bytea not null,
	updated_at bigint not null,
	primary key (kind, name, revision)
);
