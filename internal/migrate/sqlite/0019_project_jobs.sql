-- How many jobs of a project ended in which way, without reading them.
create index job_by_project_status on job (project_id, status) where project_id <> '';
