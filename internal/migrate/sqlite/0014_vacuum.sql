-- PostgreSQL's cleaning up is set here; there is none in SQLite.
select 1;
