-- What failed for good is counted for every page of the console: from the index alone, and not
-- from the rows.
drop index delivery_dead;
create index delivery_dead on delivery (state, seq, n, replaced) where state > 3;
