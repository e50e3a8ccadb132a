-- Profiles and matches: the database's own where it has them.

DO $$
BEGIN
	IF to_regclass('@extschema@.profiles') IS NULL THEN
		CREATE TABLE @extschema@.profiles (
			id uuid DEFAULT openhr_msg.uuid_v7()
				CONSTRAINT profiles_pkey PRIMARY KEY,
			display_name text,
			created_at timestamptz NOT NULL DEFAULT now()
		);
		COMMENT ON TABLE @extschema@.profiles IS
		'people who take part in conversations';
		COMMENT ON COLUMN @extschema@.profiles.id IS
		'what the "sub" of their tokens says';
		COMMENT ON COLUMN @extschema@.profiles.display_name IS
		'how others see them';
		COMMENT ON COLUMN @extschema@.profiles.created_at IS
		'when they joined';
		PERFORM pg_extension_config_dump('@extschema@.profiles', '');
	END IF;

	IF to_regclass('@extschema@.matches') IS NULL THEN
		CREATE TABLE @extschema@.matches (
			id uuid DEFAULT openhr_msg.uuid_v7()
				CONSTRAINT matches_pkey PRIMARY KEY,
			created_at timestamptz NOT NULL DEFAULT now()
		);
		COMMENT ON TABLE @extschema@.matches IS
		'what brought people together; a conversation may come from one';
		COMMENT ON COLUMN @extschema@.matches.id IS
		'UUIDv7';
		COMMENT ON COLUMN @extschema@.matches.created_at IS
		'when they matched';
		PERFORM pg_extension_config_dump('@extschema@.matches', '');
	END IF;
END
$$;

-- What a foreign key ON DELETE CASCADE or SET NULL would do.

CREATE FUNCTION openhr_msg.profile_deleted()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM @extschema@.conversation_participants
		WHERE profile_id = OLD.id;
	UPDATE @extschema@.conversations SET created_by = NULL
		WHERE created_by = OLD.id;
	UPDATE @extschema@.messages SET sender_profile_id = NULL
		WHERE sender_profile_id = OLD.id;
	DELETE FROM openhr_msg.client_messages
		WHERE sender_profile_id = OLD.id;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION openhr_msg.profile_deleted() IS
'trigger: a deleted profile leaves its conversations; its messages stay, without a sender';

CREATE FUNCTION openhr_msg.match_deleted()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE @extschema@.conversations SET match_id = NULL
		WHERE match_id = OLD.id;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION openhr_msg.match_deleted() IS
'trigger: a conversation outlives the match that it came from';

CREATE FUNCTION openhr_msg.adopt(relation regclass, on_delete regproc)
RETURNS void
AS 'MODULE_PATHNAME', 'msg_adopt'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION openhr_msg.adopt(regclass, regproc) IS
'ties one table to the conversations: see adopt_tables()';

CREATE FUNCTION openhr_msg.adopt_tables()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted record;
BEGIN
	FOR wanted IN
		SELECT relation, on_delete, kind
		FROM (VALUES
			('@extschema@.profiles'::regclass,
			 'openhr_msg.profile_deleted'::regproc),
			('@extschema@.matches'::regclass,
			 'openhr_msg.match_deleted'::regproc))
			AS tables (relation, on_delete)
		CROSS JOIN LATERAL (SELECT relkind FROM pg_class
							WHERE oid = relation) AS class (kind)
	LOOP
		IF wanted.kind NOT IN ('r', 'p') THEN
			RAISE EXCEPTION USING
				ERRCODE = 'wrong_object_type',
				MESSAGE = format('relation "%s" is not a table',
								 wanted.relation),
				HINT = 'Rename it, or create the extension in another schema: CREATE EXTENSION openhr_msg SCHEMA ...';
		END IF;
		IF NOT EXISTS (SELECT FROM pg_attribute
					   WHERE attrelid = wanted.relation AND attname = 'id'
					   AND atttypid = 'uuid'::regtype) THEN
			RAISE EXCEPTION USING
				ERRCODE = 'invalid_table_definition',
				MESSAGE = format('table "%s" has no column "id" of type uuid',
								 wanted.relation),
				DETAIL = 'Conversations refer to profiles and matches by such a column.',
				HINT = 'Add or convert the column, rename the table, or create the extension in another schema: CREATE EXTENSION openhr_msg SCHEMA ...';
		END IF;

		PERFORM openhr_msg.adopt(wanted.relation, wanted.on_delete);
	END LOOP;
END
$$;

COMMENT ON FUNCTION openhr_msg.adopt_tables() IS
'ties profiles and matches to the conversations: deletions are followed, and a dump puts them first; to be called again after pg_upgrade';

REVOKE ALL ON FUNCTION
	openhr_msg.profile_deleted(), openhr_msg.match_deleted(),
	openhr_msg.adopt(regclass, regproc), openhr_msg.adopt_tables()
	FROM PUBLIC;

SELECT openhr_msg.adopt_tables();

-- A conversation's messages go with it; its participants by a foreign key.

CREATE FUNCTION openhr_msg.conversations_deleted()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM @extschema@.messages
		USING deleted WHERE conversation_id = deleted.id;
	DELETE FROM openhr_msg.client_messages
		USING deleted WHERE conversation_id = deleted.id;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION openhr_msg.conversations_deleted() IS
'trigger: deletes the messages of deleted conversations';

CREATE FUNCTION openhr_msg.conversations_truncated()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	TRUNCATE @extschema@.messages, openhr_msg.client_messages;
	RETURN NULL;
END
$$;

COMMENT ON FUNCTION openhr_msg.conversations_truncated() IS
'trigger: without conversations there are no messages';

REVOKE ALL ON FUNCTION
	openhr_msg.conversations_deleted(), openhr_msg.conversations_truncated()
	FROM PUBLIC;

CREATE TRIGGER delete_messages
	AFTER DELETE ON @extschema@.conversations
	REFERENCING OLD TABLE AS deleted
	FOR EACH STATEMENT EXECUTE FUNCTION openhr_msg.conversations_deleted();

COMMENT ON TRIGGER delete_messages ON @extschema@.conversations IS
'the messages go with their conversation';

CREATE TRIGGER truncate_messages
	AFTER TRUNCATE ON @extschema@.conversations
	FOR EACH STATEMENT EXECUTE FUNCTION openhr_msg.conversations_truncated();

COMMENT ON TRIGGER truncate_messages ON @extschema@.conversations IS
'the messages go with their conversation';
