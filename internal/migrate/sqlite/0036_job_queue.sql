-- Jobs that wait for their turn to be submitted, and those under way that limits count. A job waits
-- while released_at is null. Jobs of a provider are released in the order of rank (the priority, negated),
-- turn, late and since. project_turn and user_turn count the waiting jobs of a project and of a user;
-- turn is the smaller one of the two, late the other. held is 1 if a limit counts the job.
create table job_queue (
	job_id text primary key,
	provider text not null,
	model text not null,
	project_id text not null,
	user_id text not null,
	rank integer not null,
	project_turn integer not null,
	user_turn integer not null,
	turn integer not null,
	late integer not null,
	since integer not null,
	released_at integer,
	held integer not null
) without rowid;
create index job_queue_turn on job_queue (provider, rank, turn, late, since, job_id) where released_at is null;
create index job_queue_project on job_queue (project_id, provider, rank, project_turn) where released_at is null;
create index job_queue_user on job_queue (user_id, provider, rank, user_turn) where released_at is null;
create index job_queue_of_provider on job_queue (provider, released_at) where released_at is not null;
create index job_queue_of_model on job_queue (model) where held = 1;
create index job_queue_of_project on job_queue (project_id) where held = 1;
create index job_queue_of_user on job_queue (user_id) where held = 1;
-- When the next submit of a provider, model, project or user may be sent, by their rate.
create table job_pace (
	scope text not null,
	name text not null,
	at integer not null,
	primary key (scope, name)
) without rowid;
alter table job add column priority integer not null default 0;
