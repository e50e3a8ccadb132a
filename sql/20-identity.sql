-- Who is speaking.
--
-- C functions here look at no object by its name, so they need no fixed
-- search_path, and uid(), which every policy calls, must not pay for one.

CREATE FUNCTION openhr_msg.authenticate(token text)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'msg_authenticate'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION openhr_msg.authenticate(text) IS
'verifies a JSON Web Token and lets the session act for its subject; returns the claims; NULL forgets the identity';

CREATE FUNCTION openhr_msg.uid()
RETURNS uuid
AS 'MODULE_PATHNAME', 'msg_uid'
LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION openhr_msg.uid() IS
'profile that this session acts for, or NULL';

CREATE FUNCTION openhr_msg.depend_on(class regclass, object oid)
RETURNS void
AS 'MODULE_PATHNAME', 'msg_depend_on'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION openhr_msg.depend_on(regclass, oid) IS
'for the install script: the database''s own object stands in for one of the extension''s, so pg_dump puts it first';

REVOKE ALL ON FUNCTION openhr_msg.depend_on(regclass, oid) FROM PUBLIC;

-- Both reveal nothing that the caller does not bring along.
GRANT EXECUTE ON FUNCTION openhr_msg.authenticate(text), openhr_msg.uid()
	TO PUBLIC;

-- The name under which policies written for Supabase look for it.
DO $$
BEGIN
	IF to_regnamespace('auth') IS NULL THEN
		CREATE SCHEMA auth;
		COMMENT ON SCHEMA auth IS 'who is speaking, for row level security';
		GRANT USAGE ON SCHEMA auth TO PUBLIC;
	END IF;

	IF to_regprocedure('auth.uid()') IS NULL THEN
		CREATE FUNCTION auth.uid()
		RETURNS uuid
		AS 'MODULE_PATHNAME', 'msg_uid'
		LANGUAGE C STABLE PARALLEL SAFE;
		COMMENT ON FUNCTION auth.uid() IS
		'profile that this session acts for: openhr_msg.uid()';
	ELSE
		PERFORM openhr_msg.depend_on('pg_catalog.pg_proc',
									 'auth.uid()'::regprocedure);
	END IF;
END
$$;
