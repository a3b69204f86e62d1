-- To find a time in the log, whatever number of sources and minutes there are.
create index tally_by_minute on tally (minute, first_seq, last_seq) where first_seq is not null;
