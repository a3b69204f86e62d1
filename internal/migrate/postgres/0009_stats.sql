-- Counts by the hour, made of the tally's minutes once an hour is over, so that totals and
-- long plots need not read every minute. Up to which hour is in setting 'rolled_up_until'.
create table tally_hour (
    source       text    collate "C" not null,
    hour         bigint  not null, -- since 1970
    received     bigint  not null,
    pending      bigint  not null,
    success      bigint  not null,
    error        bigint  not null,
    rejected     bigint  not null,
    first_minute bigint, -- since 1970: the first and last in which something was received
    last_minute  bigint,
    pause        bigint  not null, -- the longest time between two of them, in minutes
    primary key (source, hour)
);

-- How often something took how long: histograms by minute, ten minutes and hour.
create table latency (
    span   smallint not null, -- 1, 10 or 60 minutes
    at     bigint   not null, -- minute since 1970, a multiple of span
    source text     collate "C" not null,
    kind   smallint not null, -- 0 reply, 1 receipt to done, 2 failed attempt
    bucket smallint not null,
    n      bigint   not null,
    primary key (span, at, source, kind, bucket)
);
