-- What a session is limited to, as JSON (empty: nothing), and the user of the identity provider with
-- the token of the login; both empty for logins with a token.
alter table session add column scope text not null default '';
alter table session add column subject text not null default '';
alter table session add column id_token text not null default '';
