-- By what rejections are shared among clients: the IPv4 address, or the IPv6 /64 network.
-- Empty in rows of older versions: the address.
alter table rejection add column client text not null default '';
