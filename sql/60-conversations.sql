-- Conversations and participants: functions.
--
-- They run as their owner and check who calls; see src/callers.c.

CREATE TYPE openhr_msg.conversation_summary AS (
	id uuid,
	created_by uuid,
	title text,
	type text,
	match_id uuid,
	is_archived boolean,
	created_at timestamptz,
	updated_at timestamptz,
	last_seq bigint,
	last_version bigint,
	role text,
	is_muted boolean,
	last_read_seq bigint,
	last_read_at timestamptz,
	unread_count bigint,
	last_message @extschema@.messages,
	participants @extschema@.conversation_participants[]
);

COMMENT ON TYPE openhr_msg.conversation_summary IS
'a conversation as its reader sees it';
COMMENT ON COLUMN openhr_msg.conversation_summary.role IS
'of the reader, like is_muted, last_read_seq, last_read_at and unread_count; all null for a service';
COMMENT ON COLUMN openhr_msg.conversation_summary.unread_count IS
'last_seq - last_read_seq: every message after the marker, whatever its type, deleted ones too';
COMMENT ON COLUMN openhr_msg.conversation_summary.last_message IS
'the message of last_seq, a deleted one too; null while there is none';
COMMENT ON COLUMN openhr_msg.conversation_summary.participants IS
'in the order of joining, 100 at most';

CREATE FUNCTION openhr_msg.create_conversation(
	participants uuid[],
	title text DEFAULT NULL,
	type text DEFAULT 'one_to_one',
	match_id uuid DEFAULT NULL)
RETURNS @extschema@.conversations
AS 'MODULE_PATHNAME', 'msg_create_conversation'
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.create_conversation(uuid[], text, text, uuid) IS
'starts a conversation of the participants and the caller';

CREATE FUNCTION openhr_msg.list_conversations(
	max integer DEFAULT 50,
	before timestamptz DEFAULT NULL,
	include_archived boolean DEFAULT false)
RETURNS SETOF openhr_msg.conversation_summary
AS 'MODULE_PATHNAME', 'msg_list_conversations'
LANGUAGE C STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp
ROWS 50;

COMMENT ON FUNCTION openhr_msg.list_conversations(integer, timestamptz, boolean) IS
'the caller''s conversations, last active first; before is the updated_at of the last one seen';

CREATE FUNCTION openhr_msg.get_conversation(conversation_id uuid)
RETURNS openhr_msg.conversation_summary
AS 'MODULE_PATHNAME', 'msg_get_conversation'
LANGUAGE C STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.get_conversation(uuid) IS
'one conversation of the caller';

CREATE FUNCTION openhr_msg.archive_conversation(
	conversation_id uuid,
	archived boolean DEFAULT true)
RETURNS @extschema@.conversations
AS 'MODULE_PATHNAME', 'msg_archive_conversation'
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.archive_conversation(uuid, boolean) IS
'puts a conversation away for all its participants, or gets it back';

CREATE FUNCTION openhr_msg.add_participant(
	conversation_id uuid,
	profile_id uuid,
	role text DEFAULT NULL)
RETURNS @extschema@.conversation_participants
AS 'MODULE_PATHNAME', 'msg_add_participant'
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.add_participant(uuid, uuid, text) IS
'takes a profile into a group, or changes its role there';

CREATE FUNCTION openhr_msg.remove_participant(
	conversation_id uuid,
	profile_id uuid)
RETURNS boolean
AS 'MODULE_PATHNAME', 'msg_remove_participant'
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.remove_participant(uuid, uuid) IS
'removes a participant, or lets the caller leave; false when there was none';

REVOKE ALL ON FUNCTION
	openhr_msg.create_conversation(uuid[], text, text, uuid),
	openhr_msg.list_conversations(integer, timestamptz, boolean),
	openhr_msg.get_conversation(uuid),
	openhr_msg.archive_conversation(uuid, boolean),
	openhr_msg.add_participant(uuid, uuid, text),
	openhr_msg.remove_participant(uuid, uuid)
FROM PUBLIC;

GRANT EXECUTE ON FUNCTION
	openhr_msg.create_conversation(uuid[], text, text, uuid),
	openhr_msg.list_conversations(integer, timestamptz, boolean),
	openhr_msg.get_conversation(uuid),
	openhr_msg.archive_conversation(uuid, boolean),
	openhr_msg.add_participant(uuid, uuid, text),
	openhr_msg.remove_participant(uuid, uuid)
TO authenticated, service_role;
