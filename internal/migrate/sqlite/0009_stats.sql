-- Counts by the hour, made of the tally's minutes once an hour is over, so that totals and
-- long plots need not read every minute. Up to which hour is in setting 'rolled_up_until'.
create table tally_hour (
    source       text    not null,
    hour         integer not null, -- since 1970
    received     integer not null,
    pending      integer not null,
    success      integer not null,
    error        integer not null,
    rejected     integer not null,
    first_minute integer, -- since 1970: the first and last in which something was received
    last_minute  integer,
    pause        integer not null, -- the longest time between two of them, in minutes
    primary key (source, hour)
) without rowid;

-- How often something took how long: histograms by minute, ten minutes and hour.
create table latency (
    span   integer not null, -- 1, 10 or 60 minutes
    at     integer not null, -- minute since 1970, a multiple of span
    source text    not null,
    kind   integer not null, -- 0 reply, 1 receipt to done, 2 failed attempt
    bucket integer not null,
    n      integer not null,
    primary key (span, at, source, kind, bucket)
) without rowid;
