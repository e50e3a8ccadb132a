-- Roles.  They belong to the whole cluster, so one that is there already is
-- taken as it is, and none goes away with the extension.

DO $$
DECLARE
	wanted record;
BEGIN
	FOR wanted IN
		SELECT * FROM (VALUES
			('anon', 'NOLOGIN',
			 'web clients without a token: may call nothing and see nothing'),
			('authenticated', 'NOLOGIN',
			 'web clients with a token: see what their profile is a member of'),
			('service_role', 'NOLOGIN BYPASSRLS',
			 'trusted services: see and do everything'),
			('openhr_msg_authenticator', 'NOLOGIN',
			 'members are believed when they set request.jwt.claims'))
			AS roles (name, options, comment)
	LOOP
		IF to_regrole(wanted.name) IS NULL THEN
			EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.options);
			EXECUTE format('COMMENT ON ROLE %I IS %L',
						   wanted.name, wanted.comment);
		END IF;
	END LOOP;
END
$$;

GRANT USAGE ON SCHEMA openhr_msg TO PUBLIC;
