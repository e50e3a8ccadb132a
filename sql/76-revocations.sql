-- Tokens that are not accepted any more.  src/revocations.c reads the columns
-- by their places.

CREATE TABLE openhr_msg.token_revocations (
	profile_id uuid
		CONSTRAINT token_revocations_pkey PRIMARY KEY,
	revoked_at timestamptz NOT NULL
);

COMMENT ON TABLE openhr_msg.token_revocations IS
'profiles whose tokens were revoked, and when that was last';
COMMENT ON COLUMN openhr_msg.token_revocations.profile_id IS
'the "sub" of the tokens';
COMMENT ON COLUMN openhr_msg.token_revocations.revoked_at IS
'tokens that were issued then or before ("iat") are not accepted';

ALTER TABLE openhr_msg.token_revocations ENABLE ROW LEVEL SECURITY;
ALTER TABLE openhr_msg.token_revocations FORCE ROW LEVEL SECURITY;

SELECT openhr_msg.revoke_grants('openhr_msg.token_revocations');
SELECT pg_catalog.pg_extension_config_dump('openhr_msg.token_revocations', '');

CREATE FUNCTION openhr_msg.revoke_tokens(profile_id uuid)
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'msg_revoke_tokens'
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.revoke_tokens(uuid) IS
'when the transaction commits, no token of the profile issued until now is accepted any more; returns the time of that';

REVOKE ALL ON FUNCTION openhr_msg.revoke_tokens(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION openhr_msg.revoke_tokens(uuid)
	TO authenticated, service_role;
