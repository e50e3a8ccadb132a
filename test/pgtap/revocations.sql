-- openhr_msg.revoke_tokens(): who may, and what sessions make of it.
--
-- A revocation counts from its commit on, so this test commits, and removes
-- what it has made at its end.
SELECT no_plan();

\set ann '''a0000000-0000-0000-0000-0000000000fa'''
\set bob '''b0000000-0000-0000-0000-0000000000fb'''

-- What PostgREST does for each request.
CREATE FUNCTION pg_temp.become(claims jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('role', claims ->> 'role', true);
	PERFORM set_config('request.jwt.claims', claims::text, true);
END
$$;
CREATE FUNCTION pg_temp.claims(profile uuid, issued timestamptz) RETURNS jsonb
LANGUAGE sql RETURN jsonb_strip_nulls(jsonb_build_object('role', 'authenticated', 'sub', profile,
	'iat', floor(extract(epoch FROM issued))::bigint));
CREATE FUNCTION pg_temp.revoked_at(profile uuid) RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER AS 'SELECT revoked_at FROM openhr_msg.token_revocations WHERE profile_id = $1';
SELECT format('GRANT USAGE, CREATE ON SCHEMA %I TO anon, authenticated, service_role',
			  nspname) FROM pg_namespace WHERE oid = pg_my_temp_schema() \gexec
GRANT ALL ON ALL TABLES IN SCHEMA pg_temp TO anon, authenticated, service_role;
GRANT ALL ON ALL SEQUENCES IN SCHEMA pg_temp TO anon, authenticated, service_role;

-- Who may.
BEGIN;
SELECT pg_temp.become(pg_temp.claims(:ann, now() - interval '1 minute'));
SELECT throws_ok(format('SELECT openhr_msg.revoke_tokens(%L)', :bob),
	'42501', 'only services may revoke the tokens of another profile', 'a profile may not log out others');
SELECT throws_ok('SELECT openhr_msg.revoke_tokens(NULL)', '22004', NULL, 'null is nobody');
SELECT throws_ok('SELECT FROM openhr_msg.token_revocations', '42501', NULL, 'the table is not to be read');
SELECT throws_ok(format('INSERT INTO openhr_msg.token_revocations VALUES (%L, now())', :bob), '42501', NULL, '... nor written');
SELECT ok(openhr_msg.revoke_tokens(:ann) BETWEEN now() AND clock_timestamp(), 'it may log out itself');
SELECT is(openhr_msg.uid(), :ann::uuid, '... and goes on until the commit');
ROLLBACK;
BEGIN;
SELECT pg_temp.become('{"role": "anon"}');
SELECT throws_ok(format('SELECT openhr_msg.revoke_tokens(%L)', :ann), '42501', NULL, 'anonymous callers have no function');
ROLLBACK;

BEGIN;
SELECT pg_temp.become('{"role": "service_role"}');
SELECT openhr_msg.revoke_tokens(:ann) AS first \gset
SELECT is(pg_temp.revoked_at(:ann), :'first', 'a service logs out anybody');
SELECT cmp_ok(openhr_msg.revoke_tokens(:ann), '>', :'first'::timestamptz, '... again, which is later');
COMMIT;

-- Which claims are believed, by when they were made.
CREATE FUNCTION pg_temp.verdict(claims jsonb) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('request.jwt.claims', claims::text, true);
	RETURN openhr_msg.uid();
EXCEPTION WHEN invalid_authorization_specification THEN
	RETURN SQLERRM;
END
$$;
SELECT is(pg_temp.verdict(pg_temp.claims(profile, issued)),
	CASE WHEN good THEN profile::text ELSE 'the token of this session has been revoked' END, what)
FROM (SELECT pg_temp.revoked_at(:ann) AS revoked) AS r, LATERAL (VALUES
	('made long before', :ann::uuid, revoked - interval '1 hour', false),
	('made in the same second', :ann, revoked, false),
	('made at an unknown time', :ann, NULL, false),
	('made in the next second', :ann, revoked + interval '1 second', true),
	('somebody else''s', :bob, revoked - interval '1 hour', true),
	('the first one again', :ann, revoked - interval '1 hour', false))
	AS t(what, profile, issued, good);

-- A profile may be locked out for ever.
UPDATE openhr_msg.token_revocations SET revoked_at = 'infinity' WHERE profile_id = :ann;
SELECT is(pg_temp.verdict(pg_temp.claims(:ann, '9999-01-01')), 'the token of this session has been revoked', 'infinity');
UPDATE openhr_msg.token_revocations SET revoked_at = '-infinity' WHERE profile_id = :ann;
SELECT is(pg_temp.verdict(pg_temp.claims(:ann, NULL)), :ann, 'minus infinity');

DELETE FROM openhr_msg.token_revocations WHERE profile_id = :ann;
SELECT is(pg_temp.verdict(pg_temp.claims(:ann, NULL)), :ann, 'no revocation');

SELECT * FROM finish();
