-- The keys of events, as on SQLite, where they are not in the index of the events.
create view event_by_key as select source, dedupe, seq from event;
