-- What foreign keys would do between the tables: src/references.c.

CREATE FUNCTION openhr_msg.profile_deleted() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_profile_deleted'
LANGUAGE C SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

CREATE FUNCTION openhr_msg.match_deleted() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_match_deleted'
LANGUAGE C SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

CREATE FUNCTION openhr_msg.conversation_deleted() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_conversation_deleted'
LANGUAGE C SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

CREATE FUNCTION openhr_msg.conversations_truncated() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_conversations_truncated'
LANGUAGE C SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

CREATE FUNCTION openhr_msg.participant_added() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_participant_added'
LANGUAGE C SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.profile_deleted() IS
'a deleted profile leaves its conversations; its messages stay, without a sender';
COMMENT ON FUNCTION openhr_msg.match_deleted() IS
'a conversation outlives the match that it came from';
COMMENT ON FUNCTION openhr_msg.conversation_deleted() IS
'participants and messages go with their conversation';
COMMENT ON FUNCTION openhr_msg.conversations_truncated() IS
'without conversations there are no participants and no messages';
COMMENT ON FUNCTION openhr_msg.participant_added() IS
'the conversation of a new participant exists';

REVOKE ALL ON FUNCTION
	openhr_msg.profile_deleted(), openhr_msg.match_deleted(),
	openhr_msg.conversation_deleted(), openhr_msg.conversations_truncated(),
	openhr_msg.participant_added()
	FROM PUBLIC;

CREATE TRIGGER delete_contents
	AFTER DELETE ON @extschema@.conversations
	FOR EACH ROW EXECUTE FUNCTION openhr_msg.conversation_deleted();
CREATE TRIGGER truncate_contents
	AFTER TRUNCATE ON @extschema@.conversations
	FOR EACH STATEMENT EXECUTE FUNCTION openhr_msg.conversations_truncated();

-- A row that comes back from a dump may come before its conversation; a new
-- one bears the time of its transaction.
CREATE TRIGGER check_conversation
	AFTER INSERT ON @extschema@.conversation_participants
	FOR EACH ROW WHEN (NEW.joined_at = pg_catalog.transaction_timestamp())
	EXECUTE FUNCTION openhr_msg.participant_added();

COMMENT ON TRIGGER delete_contents ON @extschema@.conversations IS
'participants and messages go with their conversation';
COMMENT ON TRIGGER truncate_contents ON @extschema@.conversations IS
'participants and messages go with their conversation';
COMMENT ON TRIGGER check_conversation
	ON @extschema@.conversation_participants IS
'the conversation of a new participant exists';

-- Profiles and matches are the database's own, made for it when it has none:
-- src/adopt.c.  ALTER EXTENSION DROP TABLE leaves them to it, with their types,
-- which 17 counts as the extension's, too.  Clients see nothing of those tables
-- until their owner says what.

DO $$
BEGIN
	IF to_regclass('@extschema@.profiles') IS NULL THEN
		CREATE TABLE @extschema@.profiles (
			id uuid DEFAULT gen_random_uuid()
				CONSTRAINT profiles_pkey PRIMARY KEY,
			display_name text,
			created_at timestamptz NOT NULL DEFAULT now()
		);
		ALTER TABLE @extschema@.profiles ENABLE ROW LEVEL SECURITY;
		COMMENT ON TABLE @extschema@.profiles IS
		'people who take part in conversations';
		COMMENT ON COLUMN @extschema@.profiles.id IS
		'what the "sub" of their tokens says';
		COMMENT ON COLUMN @extschema@.profiles.display_name IS
		'how others see them';
		COMMENT ON COLUMN @extschema@.profiles.created_at IS
		'when they joined';
		ALTER EXTENSION openhr_msg DROP TABLE @extschema@.profiles;
	END IF;

	IF to_regclass('@extschema@.matches') IS NULL THEN
		CREATE TABLE @extschema@.matches (
			id uuid DEFAULT gen_random_uuid()
				CONSTRAINT matches_pkey PRIMARY KEY,
			created_at timestamptz NOT NULL DEFAULT now()
		);
		ALTER TABLE @extschema@.matches ENABLE ROW LEVEL SECURITY;
		COMMENT ON TABLE @extschema@.matches IS
		'what brought people together; a conversation may come from one';
		COMMENT ON COLUMN @extschema@.matches.id IS
		'what conversations refer to';
		COMMENT ON COLUMN @extschema@.matches.created_at IS
		'when they matched';
		ALTER EXTENSION openhr_msg DROP TABLE @extschema@.matches;
	END IF;
END
$$;

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
	openhr_msg.adopt(regclass, regproc), openhr_msg.adopt_tables()
	FROM PUBLIC;

SELECT openhr_msg.adopt_tables();
