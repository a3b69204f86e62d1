-- The open deliveries of a key, counted at the end of each: the index has few rows, however many
-- deliveries the key holds back.
create index delivery_open_of_key on delivery (lane, okey) where okey <> '' and (state < 3 or held = 2) and held <> 1;
