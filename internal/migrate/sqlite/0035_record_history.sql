-- The values that records had, such as the revisions of workflows.
create table record_history (
	kind text not null,
	name text not null,
	revision integer not null,
	value blob not null,
	updated_at integer not null,
	primary key (kind, name, revision)
) without rowid;
