-- A handler may have a lane of its own: its deliveries are claimed apart from the others'.
alter table delivery add column lane text collate "C" not null default '';
-- What somebody holds is due when his lease ends, so it does not stand in the way.
drop index delivery_due;
create index delivery_due on delivery (lane, greatest(run_at, leased_until)) where state < 3;
