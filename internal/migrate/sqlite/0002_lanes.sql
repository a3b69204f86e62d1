-- A handler may have a lane of its own: its deliveries are claimed apart from the others'.
alter table delivery add column lane text not null default '';
drop index delivery_due;
create index delivery_due on delivery (lane, run_at) where state < 3;
