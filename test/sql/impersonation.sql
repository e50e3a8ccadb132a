-- Somebody who can run SQL tries to be somebody else.
--
-- mallory logs in as an ordinary role and has a token of her own.  Whatever
-- she does, the notes of alice stay unseen: who_am_i() says what the policy
-- of the notes sees.
\set ECHO none
\set QUIET on
\set home :DBNAME
\set admin :USER
\set SHOW_CONTEXT never
SET client_min_messages = error;
CREATE DATABASE regress_impersonation TEMPLATE template0 ENCODING 'UTF8';
\c regress_impersonation
SET client_min_messages = error;
CREATE EXTENSION openhr_msg;
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir /sql/include/token.psql
\i :helpers
\set alice 'a0000000-0000-0000-0000-000000000001'
\set bob 'b0000000-0000-0000-0000-000000000002'
\set mallory 'c0000000-0000-0000-0000-000000000003'
SELECT make_token(:'alice'::uuid) AS alice_token,
	make_token(:'bob'::uuid) AS bob_token,
	make_token(:'mallory'::uuid) AS mallory_token,
	make_token(NULL, 'service_role') AS service_token \gset
CREATE ROLE regress_mallory LOGIN IN ROLE authenticated;
CREATE ROLE regress_web LOGIN NOINHERIT IN ROLE openhr_msg_authenticator,
	authenticated;
GRANT CREATE ON DATABASE regress_impersonation TO regress_mallory;

CREATE TABLE notes (owner uuid, note text);
INSERT INTO notes
SELECT v::uuid, left(v, 1) || n
FROM unnest(ARRAY[:'alice', :'bob', :'mallory']) v, generate_series(1, 3) n;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (owner = openhr_msg.uid());
GRANT SELECT ON notes TO authenticated;
CREATE FUNCTION who_am_i() RETURNS text LANGUAGE sql STABLE
RETURN (SELECT coalesce(string_agg(note, ' ' ORDER BY note), 'nobody')
		FROM notes);
\pset format unaligned
\pset tuples_only on
\set QUIET off
\set ECHO all

\c - regress_mallory
SELECT who_am_i();

-- The settings of PostgREST, in every way of setting them.
SET request.jwt.claims = '{"sub": "a0000000-0000-0000-0000-000000000001", "role": "authenticated"}';
SET request.jwt.claim.sub = 'a0000000-0000-0000-0000-000000000001';
SET request.jwt.claim.role = 'service_role';
SELECT who_am_i();
SET ROLE authenticated;
SELECT who_am_i();
RESET ROLE;
BEGIN;
SET LOCAL request.jwt.claims = '{"role": "service_role"}';
SELECT who_am_i();
ROLLBACK;
CREATE FUNCTION pg_temp.as_alice() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('request.jwt.claims',
		'{"sub": "a0000000-0000-0000-0000-000000000001"}', false);
	RETURN who_am_i();
END
$$;
SELECT pg_temp.as_alice();
SELECT who_am_i();
\c - :admin
ALTER ROLE regress_mallory SET request.jwt.claims =
	'{"sub": "a0000000-0000-0000-0000-000000000001"}';
\c - regress_mallory
SHOW request.jwt.claims;
SELECT who_am_i();

-- Roles that would be believed, or see everything.
SET ROLE openhr_msg_authenticator;
SET ROLE service_role;
SELECT format('SET SESSION AUTHORIZATION %I', :'admin') \gexec
SET SESSION AUTHORIZATION regress_web;
-- Only the codes: the servers' words differ.
\set VERBOSITY sqlstate
GRANT openhr_msg_authenticator TO regress_mallory;
ALTER ROLE regress_mallory BYPASSRLS;
\set VERBOSITY default
SELECT who_am_i();

-- The setting that carries a verified identity.
SET openhr_msg.identity = '4102444800 a0000000-0000-0000-0000-000000000001 authenticated';
SET LOCAL openhr_msg.identity = 'a0000000-0000-0000-0000-000000000001';
SELECT set_config('openhr_msg.identity', ' ', false);
UPDATE pg_settings SET setting = 'x' WHERE name = 'openhr_msg.identity';
ALTER ROLE regress_mallory SET openhr_msg.identity =
	'4102444800 a0000000-0000-0000-0000-000000000001 authenticated';
CREATE FUNCTION pg_temp.as_alice_again() RETURNS text LANGUAGE sql
SET openhr_msg.identity = '4102444800 a0000000-0000-0000-0000-000000000001 authenticated'
RETURN who_am_i();
SELECT who_am_i();

-- The same with an identity to copy from.
SELECT openhr_msg.authenticate(:'mallory_token') ->> 'sub';
SELECT who_am_i();
SELECT set_config('openhr_msg.identity',
	current_setting('openhr_msg.identity'), false);
SELECT set_config('openhr_msg.identity', replace(
	current_setting('openhr_msg.identity'), :'mallory', :'alice'), true);
CREATE FUNCTION pg_temp.keep() RETURNS text LANGUAGE sql
SET openhr_msg.identity FROM CURRENT
RETURN who_am_i();
SELECT who_am_i();

-- Not even a superuser can store one where sessions start from.
\c - :admin
ALTER ROLE regress_mallory SET openhr_msg.identity =
	'4102444800 a0000000-0000-0000-0000-000000000001 authenticated';
ALTER DATABASE regress_impersonation SET openhr_msg.identity = 'x';
ALTER SYSTEM SET openhr_msg.identity = 'x';

-- Functions of others: claims that a superuser's function sets are believed
-- from nobody but the session's user.
CREATE FUNCTION claim(text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	PERFORM set_config('request.jwt.claims', $1, true);
	RETURN openhr_msg.uid();
END
$$;
\c - regress_mallory
SELECT claim('{"sub": "a0000000-0000-0000-0000-000000000001"}') IS NULL;

-- Names that look like ours.
CREATE SCHEMA regress_mallory;
CREATE FUNCTION regress_mallory.uid() RETURNS uuid LANGUAGE sql
RETURN 'a0000000-0000-0000-0000-000000000001'::uuid;
CREATE FUNCTION regress_mallory.always(uuid, uuid) RETURNS bool LANGUAGE sql
RETURN true;
CREATE OPERATOR regress_mallory.= (FUNCTION = regress_mallory.always,
	LEFTARG = uuid, RIGHTARG = uuid);
CREATE TEMP TABLE notes AS SELECT 'x' AS note;
SET search_path = regress_mallory, openhr_msg, auth, pg_catalog, public;
SELECT public.who_am_i();
CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql
RETURN 'a0000000-0000-0000-0000-000000000001'::uuid;
CREATE OR REPLACE FUNCTION openhr_msg.uid() RETURNS uuid LANGUAGE sql
RETURN 'a0000000-0000-0000-0000-000000000001'::uuid;
DROP TABLE pg_temp.notes;
RESET search_path;

-- Forged tokens.
\set claims '{"sub": "a0000000-0000-0000-0000-000000000001", "role": "authenticated", "exp": 4102444800}'
SELECT openhr_msg.authenticate(sign_token(:'claims'::jsonb, '{"alg": "none"}'));
SELECT openhr_msg.authenticate(split_part(sign_token(
	:'claims'::jsonb, '{"alg": "none"}'), '.', 1) || '.' ||
	split_part(:'alice_token', '.', 2) || '.');
SELECT openhr_msg.authenticate(sign_token(:'claims'::jsonb, secret => ''));
SELECT openhr_msg.authenticate(sign_token(:'claims'::jsonb, secret => 'guess'));
SELECT openhr_msg.authenticate(sign_token(:'claims'::jsonb, '{"alg": "HS512"}'));
SELECT openhr_msg.authenticate(split_part(:'alice_token', '.', 1) || '.' ||
	split_part(:'alice_token', '.', 2) || '.' ||
	split_part(:'mallory_token', '.', 3));
SELECT openhr_msg.authenticate(split_part(:'mallory_token', '.', 1) || '.' ||
	split_part(:'alice_token', '.', 2) || '.' ||
	split_part(:'mallory_token', '.', 3));
SELECT who_am_i();

-- A token says who one is, not what one's role may do.
SELECT openhr_msg.authenticate(:'service_token');
SELECT who_am_i();
SELECT openhr_msg.authenticate(make_token(:'mallory'::uuid, :'admin')) ->> 'sub';
SELECT who_am_i();

-- A token that expires while it is in use, even within one statement.
SELECT openhr_msg.authenticate(sign_token(jsonb_build_object(
	'sub', :'mallory', 'role', 'authenticated',
	'exp', floor(extract(epoch FROM clock_timestamp())) - 25))) IS NOT NULL;
SELECT who_am_i();
DO $$
BEGIN
	FOR i IN 1 .. 1000 LOOP
		IF who_am_i() <> 'c1 c2 c3' THEN
			RAISE 'an identity that is nobody''s';
		END IF;
		PERFORM pg_sleep(0.05);
	END LOOP;
EXCEPTION WHEN invalid_authorization_specification THEN
	RAISE NOTICE '%', SQLERRM;
END
$$;
SELECT who_am_i();
SELECT openhr_msg.authenticate(NULL);
SELECT who_am_i();

-- Prepared plans, custom and generic, follow the identity.
PREPARE mine AS SELECT string_agg(note, ' ' ORDER BY note) FROM notes;
SET plan_cache_mode = force_generic_plan;
EXECUTE mine;
SELECT openhr_msg.authenticate(:'bob_token') ->> 'sub';
EXECUTE mine;
SELECT openhr_msg.authenticate(:'mallory_token') ->> 'sub';
EXECUTE mine;
BEGIN;
SELECT openhr_msg.authenticate(:'bob_token') ->> 'sub';
EXECUTE mine;
ROLLBACK;
EXECUTE mine;
SET plan_cache_mode = force_custom_plan;
EXECUTE mine;
DISCARD ALL;
SELECT who_am_i();

-- A cursor sees at each row who is speaking then; one that was kept holds the
-- rows of when it was made.
SELECT openhr_msg.authenticate(:'bob_token') ->> 'sub';
BEGIN;
DECLARE c CURSOR FOR SELECT note FROM notes;
DECLARE kept CURSOR WITH HOLD FOR SELECT note FROM notes;
FETCH 1 FROM c;
SELECT openhr_msg.authenticate(:'mallory_token') ->> 'sub';
FETCH ALL FROM c;
SELECT openhr_msg.authenticate(:'bob_token') ->> 'sub';
COMMIT;
SELECT openhr_msg.authenticate(NULL);
FETCH ALL FROM kept;
CLOSE kept;

-- Parallel workers speak for whom their leader does.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET parallel_leader_participation = off;
EXPLAIN (COSTS off) SELECT count(*) FROM notes;
SELECT who_am_i();
SELECT openhr_msg.authenticate(:'bob_token') ->> 'sub';
SELECT count(*), min(note), max(note) FROM notes;
SELECT openhr_msg.authenticate(:'mallory_token') ->> 'sub';
SELECT count(*), min(note), max(note) FROM notes;
SELECT openhr_msg.authenticate(NULL);
SET request.jwt.claims = '{"sub": "a0000000-0000-0000-0000-000000000001", "role": "authenticated"}';
SELECT count(*), min(note), max(note) FROM notes;
\c - regress_web
SET ROLE authenticated;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET parallel_leader_participation = off;
SET request.jwt.claims = '{"sub": "a0000000-0000-0000-0000-000000000001", "role": "authenticated"}';
SELECT count(*), min(note), max(note) FROM notes;

-- Belief ends with the membership, also in a session that had it.
\c - :admin
SET SESSION AUTHORIZATION regress_web;
SET request.jwt.claims = '{"sub": "b0000000-0000-0000-0000-000000000002", "role": "authenticated"}';
SET ROLE authenticated;
SELECT who_am_i();
RESET SESSION AUTHORIZATION;
REVOKE openhr_msg_authenticator FROM regress_web;
SET SESSION AUTHORIZATION regress_web;
SET ROLE authenticated;
SELECT who_am_i();
RESET SESSION AUTHORIZATION;
RESET request.jwt.claims;

-- Code of mallory's that runs because others maintain her table does not
-- speak in their name.
\c - regress_mallory
CREATE TABLE regress_mallory.log (who uuid, fault text);
CREATE TABLE regress_mallory.trap (n int);
INSERT INTO regress_mallory.trap SELECT generate_series(1, 3);
CREATE FUNCTION regress_mallory.note(fault text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO regress_mallory.log VALUES (openhr_msg.uid(), fault);
END
$$;
CREATE FUNCTION regress_mallory.spy(n int) RETURNS int
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	fault text;
BEGIN
	BEGIN
		PERFORM openhr_msg.authenticate(NULL);
	EXCEPTION WHEN insufficient_privilege THEN
		fault := SQLERRM;
	END;
	PERFORM regress_mallory.note(fault);
	RETURN n;
END
$$;
CREATE INDEX ON regress_mallory.trap (regress_mallory.spy(n));
\c - :admin
TRUNCATE regress_mallory.log;
SELECT openhr_msg.authenticate(:'alice_token') ->> 'sub';
ANALYZE regress_mallory.trap;
SELECT DISTINCT who IS NULL, fault FROM regress_mallory.log;
SELECT openhr_msg.uid();

SELECT openhr_msg.authenticate(NULL);

-- Who is a service: power() says whose conversations one may list.
SET request.jwt.claims = '';
CREATE FUNCTION power() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN CASE (SELECT count(*) FROM openhr_msg.list_conversations())
		WHEN 0 THEN 'own' ELSE 'all' END;
EXCEPTION WHEN invalid_authorization_specification THEN
	RETURN SQLERRM;
END
$$;
INSERT INTO conversations (title) VALUES ('only a service sees this');
SELECT power();

-- A superuser who takes on an identity is no longer one.
SET request.jwt.claims = '{"sub": "b0000000-0000-0000-0000-000000000002", "role": "authenticated"}';
SELECT power();
SET request.jwt.claims = '{"sub": "b0000000-0000-0000-0000-000000000002", "role": "service_role"}';
SELECT power();
SET request.jwt.claims = '{"role": "anon"}';
SELECT power();
SET request.jwt.claims = '{"role": "no such role"}';
SELECT power();
SET request.jwt.claims = '{}';
SELECT power();
SET request.jwt.claims = '{"role": "service_role"}';
SELECT power();
SELECT openhr_msg.authenticate(:'bob_token') ->> 'sub';
SELECT power();
SELECT openhr_msg.authenticate(:'service_token') ->> 'role';
SELECT power();
SELECT openhr_msg.authenticate(NULL);

-- PostgREST with a service's token, and without its role.
GRANT openhr_msg_authenticator, service_role TO regress_web;
\c - regress_web
SET request.jwt.claims = '{"role": "service_role"}';
SET ROLE authenticated;
SELECT power();
SET ROLE service_role;
SELECT power();
SET request.jwt.claims = '{"role": "authenticated"}';
SELECT power();

-- Neither a service's token nor a service's function makes one of mallory.
\c - :admin
CREATE FUNCTION borrowed() RETURNS text LANGUAGE sql SECURITY DEFINER
RETURN power();
\c - regress_mallory
SELECT openhr_msg.authenticate(:'service_token') ->> 'role';
SELECT power();
SELECT borrowed();
SELECT openhr_msg.authenticate(NULL);
SELECT borrowed();

-- Nor does a service that maintains what is mallory's.
CREATE MATERIALIZED VIEW regress_mallory.view AS SELECT power();
\c - :admin
SELECT power();
REFRESH MATERIALIZED VIEW regress_mallory.view;
SELECT * FROM regress_mallory.view;

\set ECHO none
\set QUIET on
\c :home
SET client_min_messages = error;
DROP DATABASE regress_impersonation;
DROP ROLE regress_mallory, regress_web;
