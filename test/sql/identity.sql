-- Who is speaking: authenticate(), uid(), and how long an identity lives.
--
-- In a database of its own, with a profile for alice and one for bob.
\set ECHO none
\set QUIET on
\set home :DBNAME
\set admin :USER
SET client_min_messages = error;
CREATE DATABASE regress_identity TEMPLATE template0 ENCODING 'UTF8';
\c regress_identity
SET client_min_messages = error;
CREATE EXTENSION openhr_msg;
RESET client_min_messages;
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir /sql/include/token.psql
\i :helpers
SELECT make_token('a0000000-0000-0000-0000-000000000001'::uuid) AS alice,
	make_token('b0000000-0000-0000-0000-000000000002'::uuid) AS bob,
	make_token(NULL, 'anon') AS anon \gset
CREATE ROLE regress_app LOGIN;
CREATE ROLE regress_web LOGIN NOINHERIT IN ROLE openhr_msg_authenticator,
	anon, authenticated, service_role;
\pset format unaligned
\pset null (null)
\set QUIET off
\set ECHO all

-- Roles and objects.
SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole,
	shobj_description(oid, 'pg_authid') IS NOT NULL AS has_comment
FROM pg_roles
WHERE rolname IN ('anon', 'authenticated', 'service_role',
	'openhr_msg_authenticator') ORDER BY rolname;
SELECT p.oid::regprocedure, p.provolatile, p.proparallel, p.prosecdef,
	has_function_privilege('regress_app', p.oid, 'EXECUTE') AS everybody,
	obj_description(p.oid, 'pg_proc') IS NOT NULL AS has_comment
FROM pg_proc p
WHERE p.proname IN ('authenticate', 'uid', 'depend_on') ORDER BY 1;
SELECT openhr_msg.depend_on('pg_proc', 'auth.uid()'::regprocedure);

-- A setting that only the server may know.
\c - regress_app
SELECT setting FROM pg_settings WHERE name = 'openhr_msg.jwt_secret';

-- An ordinary role takes on an identity, changes it, and forgets it.
SELECT openhr_msg.uid(), auth.uid();
SELECT openhr_msg.authenticate(:'alice');
SELECT openhr_msg.uid(), auth.uid();
SELECT openhr_msg.authenticate(:'bob') ->> 'sub';
SELECT openhr_msg.uid();
SELECT openhr_msg.authenticate(NULL);
SELECT openhr_msg.uid();

-- Tokens without a profile: no subject, another form of subject, or anonymous
-- whatever the subject is.
SELECT openhr_msg.authenticate(:'anon');
SELECT openhr_msg.uid();
SELECT openhr_msg.authenticate(sign_token(
	'{"sub": "auth0|1", "role": "authenticated", "exp": 4102444800}'));
SELECT openhr_msg.uid();
SELECT openhr_msg.authenticate(make_token(
	'a0000000-0000-0000-0000-000000000001', 'anon')) ->> 'sub';
SELECT openhr_msg.uid();
SELECT openhr_msg.authenticate(sign_token(
	'{"role": "a role\nof two lines", "exp": 4102444800, "sub": "A0000000-0000-0000-0000-00000000000A", "more": {"é": [1.50, null]}}'));
SELECT openhr_msg.uid();

-- A refused token changes nothing.
\set VERBOSITY terse
SELECT openhr_msg.authenticate(:'alice') IS NOT NULL;
SELECT openhr_msg.authenticate('');
\echo :LAST_ERROR_SQLSTATE
SELECT openhr_msg.authenticate('not a token');
SELECT openhr_msg.authenticate(:'alice' || 'A');
SELECT openhr_msg.authenticate(repeat('x', 10000));
SELECT openhr_msg.authenticate(sign_token(
	'{"role": "authenticated", "exp": 1}'));
\echo :LAST_ERROR_SQLSTATE
SELECT openhr_msg.authenticate(sign_token(
	'{"role": "authenticated", "exp": 4102444800, "nbf": 4102444700}'));
SELECT openhr_msg.authenticate(sign_token('{"role": "authenticated"}'));
SELECT openhr_msg.authenticate(sign_token('{"exp": 4102444800}'));
SELECT openhr_msg.uid();

-- What comes with an error.
\set VERBOSITY default
SELECT openhr_msg.authenticate(sign_token(
	'{"role": "authenticated", "exp": 4102444800}', '{"alg": "RS256"}'));
DO $$
DECLARE
	detail text;
BEGIN
	PERFORM openhr_msg.authenticate(sign_token(jsonb_build_object(
		'role', 'authenticated', 'exp', 1000000000)));
EXCEPTION WHEN invalid_authorization_specification THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '%', regexp_replace(detail, '\d+', 'N');
END
$$;

-- A rollback brings the previous identity back, a commit keeps the new one.
BEGIN;
SELECT openhr_msg.authenticate(:'bob') ->> 'sub';
SELECT openhr_msg.uid();
ROLLBACK;
SELECT openhr_msg.uid();
BEGIN;
SAVEPOINT s;
SELECT openhr_msg.authenticate(:'bob') ->> 'sub';
ROLLBACK TO s;
SELECT openhr_msg.uid();
SAVEPOINT s;
SELECT openhr_msg.authenticate(NULL);
RELEASE s;
SELECT openhr_msg.uid();
ROLLBACK;
SELECT openhr_msg.uid();
BEGIN;
SELECT openhr_msg.authenticate(:'bob') ->> 'sub';
COMMIT;
SELECT openhr_msg.uid();

-- Nobody, for a transaction, in a function, or from here on.
BEGIN;
SET LOCAL openhr_msg.identity = '';
SELECT openhr_msg.uid();
COMMIT;
SELECT openhr_msg.uid();
CREATE FUNCTION pg_temp.nobody() RETURNS uuid
LANGUAGE sql SET openhr_msg.identity = ''
RETURN openhr_msg.uid();
SELECT pg_temp.nobody(), openhr_msg.uid();
RESET openhr_msg.identity;
SELECT openhr_msg.uid();
SELECT openhr_msg.authenticate(:'bob') ->> 'sub';
RESET ALL;
SELECT openhr_msg.uid();
SELECT openhr_msg.authenticate(:'bob') ->> 'sub';
DISCARD ALL;
SELECT openhr_msg.uid();

-- PostgREST's way, from a role that may.
\c - regress_web
BEGIN;
SET LOCAL ROLE authenticated;
SELECT set_config('request.jwt.claims',
	'{"sub": "a0000000-0000-0000-0000-000000000001", "role": "authenticated"}',
	true) \g /dev/null
SELECT openhr_msg.uid(), auth.uid();
SET LOCAL request.jwt.claims = '{"sub": "b0000000-0000-0000-0000-000000000002", "role": "anon"}';
SELECT openhr_msg.uid();
SET LOCAL request.jwt.claims = '{"sub": 7, "role": ["x"]}';
SELECT openhr_msg.uid();
SET LOCAL request.jwt.claims = '{}';
SELECT openhr_msg.uid();
SET LOCAL request.jwt.claims = '';
SELECT openhr_msg.uid();
COMMIT;
SELECT openhr_msg.uid();

-- What is no JSON object is an error that does not show it.
SET request.jwt.claims = '"my secret"';
SELECT openhr_msg.uid();
\echo :LAST_ERROR_SQLSTATE
SET request.jwt.claims = '{"my": "secret"';
SELECT openhr_msg.uid();
RESET request.jwt.claims;

-- Older versions of PostgREST have a setting for each claim.
SET request.jwt.claim.sub = 'a0000000-0000-0000-0000-000000000001';
SELECT openhr_msg.uid();
SET request.jwt.claim.role = 'anon';
SELECT openhr_msg.uid();
SET request.jwt.claim.role = 'authenticated';
SELECT openhr_msg.uid();
SET request.jwt.claims = '{"sub": "b0000000-0000-0000-0000-000000000002"}';
SELECT openhr_msg.uid();

-- A token verified here outranks what was only said.
SELECT openhr_msg.authenticate(:'alice') ->> 'sub';
SELECT openhr_msg.uid();
DISCARD ALL;

-- A database with an auth.uid() of its own keeps it.
\set ECHO none
\set QUIET on
\c :home :admin
SET client_min_messages = error;
CREATE DATABASE regress_identity_own TEMPLATE template0 ENCODING 'UTF8';
\c regress_identity_own
SET client_min_messages = error;
CREATE SCHEMA auth;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql
RETURN 'c0000000-0000-0000-0000-000000000003'::uuid;
\set QUIET off
\set ECHO all
CREATE EXTENSION openhr_msg;
SELECT auth.uid(), openhr_msg.uid();
DROP FUNCTION auth.uid();
DROP EXTENSION openhr_msg;
SELECT auth.uid();

-- And one with only a schema of that name gets the function in there.
DROP FUNCTION auth.uid();
CREATE EXTENSION openhr_msg;
SELECT p.oid::regprocedure, obj_description(n.oid, 'pg_namespace')
FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
WHERE nspname = 'auth';
DROP EXTENSION openhr_msg;
SELECT to_regprocedure('auth.uid()'), to_regnamespace('auth');

-- Again, and the roles are as they were left.
ALTER ROLE anon CONNECTION LIMIT 7;
CREATE EXTENSION openhr_msg;
SELECT rolconnlimit FROM pg_roles WHERE rolname = 'anon';

\set ECHO none
\set QUIET on
ALTER ROLE anon CONNECTION LIMIT -1;
\c :home
SET client_min_messages = error;
DROP DATABASE regress_identity_own;
DROP DATABASE regress_identity;
DROP ROLE regress_app, regress_web;
