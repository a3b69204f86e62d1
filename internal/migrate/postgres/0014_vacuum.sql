-- Each event and each delivery is written again when it is done. By the defaults a fifth of a
-- long log would be dead rows, and the newest part of it unknown to the planner, before either
-- is looked after.
alter table event set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
alter table delivery set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
