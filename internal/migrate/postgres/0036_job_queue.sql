-- Jobs that wait for their turn to be submitted, and those under way that limits count. A job waits
-- while released_at is null. Jobs of a provider are released in the order of rank (the priority, negated),
-- turn, late and since. project_turn and user_turn count the waiting jobs of a project and of a user;
-- turn is the smaller one of the two, late the other. held is 1 if a limit counts the job.
create table job_queue (
	job_id text collate "C" primary key,
	provider text collate "C" not null,
	model text collate "C" not null,
	project_id text collate "C" not null,
	user_id text collate "C" not null,
	rank bigint not null,
	project_turn bigint not null,
	user_turn bigint not null,
	turn bigint not null,
	late bigint not null,
	since bigint not null,
	released_at bigint,
	held bigint not null
);
create index job_queue_turn on job_queue (provider, rank, turn, late, since, job_id) where released_at is null;
create index job_queue_project on job_queue (project_id, provider, rank, project_turn) where released_at is null;
create index job_queue_user on job_queue (user_id, provider, rank, user_turn) where released_at is null;
create index job_queue_of_provider on job_queue (provider, released_at) where released_at is not null;
create index job_queue_of_model on job_queue (model) where held = 1;
create index job_queue_of_project on job_queue (project_id) where held = 1;
create index job_queue_of_user on job_queue (user_id) where held = 1;
-- When the next submit of a provider, model, project or user may be sent, by their rate.
create table job_pace (
	scope text collate "C" not null,
	name text collate "C" not null,
	at bigint not null,
	primary key (scope, name)
);
alter table job add column priority bigint not null default 0;
