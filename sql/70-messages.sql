-- Messages: functions, and the memory of the rate limit.

CREATE UNLOGGED TABLE openhr_msg.send_log (
	profile_id uuid CONSTRAINT send_log_pkey PRIMARY KEY,
	sent_at timestamptz[] NOT NULL
) WITH (fillfactor = 50,			-- every send updates its sender's row,
		toast_tuple_target = 8160);	-- and shall not compress it

ALTER TABLE openhr_msg.send_log ALTER COLUMN sent_at SET STORAGE EXTERNAL;

COMMENT ON TABLE openhr_msg.send_log IS
'when each profile sent its latest messages, for openhr_msg.rate_limit; a crash empties it';
COMMENT ON COLUMN openhr_msg.send_log.profile_id IS
'the sender';
COMMENT ON COLUMN openhr_msg.send_log.sent_at IS
'times of the messages of the last window, ascending';

CREATE FUNCTION openhr_msg.push_sent_at(
	sent_at timestamptz[],
	at timestamptz)
RETURNS timestamptz[]
AS 'MODULE_PATHNAME', 'msg_push_sent_at'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION openhr_msg.push_sent_at(timestamptz[], timestamptz) IS
'for send_log: the times that still count and a new one, or an error when there are too many';

CREATE FUNCTION openhr_msg.send_message(
	conversation_id uuid,
	content text,
	content_type text DEFAULT 'text',
	reply_to_message_id uuid DEFAULT NULL,
	metadata jsonb DEFAULT NULL,
	client_message_id text DEFAULT NULL)
RETURNS @extschema@.messages
AS 'MODULE_PATHNAME', 'msg_send_message'
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.send_message(uuid, text, text, uuid, jsonb, text) IS
'sends a message; with a client_message_id, sending it again returns the stored message';

-- With which seq a conversation went into another month; see pages.c.

CREATE TABLE openhr_msg.conversation_months (
	conversation_id uuid,
	first_seq bigint,
	month timestamptz NOT NULL,
	CONSTRAINT conversation_months_pkey
		PRIMARY KEY (conversation_id, first_seq)
);

COMMENT ON TABLE openhr_msg.conversation_months IS
'which messages of a conversation are in which months, so that a page by seq opens no other month';
COMMENT ON COLUMN openhr_msg.conversation_months.conversation_id IS
'the conversation';
COMMENT ON COLUMN openhr_msg.conversation_months.first_seq IS
'seq of the month''s first message';
COMMENT ON COLUMN openhr_msg.conversation_months.month IS
'the month''s start (UTC)';

SELECT pg_catalog.pg_extension_config_dump('openhr_msg.conversation_months', '');

ALTER TABLE openhr_msg.send_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE openhr_msg.send_log FORCE ROW LEVEL SECURITY;
ALTER TABLE openhr_msg.conversation_months ENABLE ROW LEVEL SECURITY;
ALTER TABLE openhr_msg.conversation_months FORCE ROW LEVEL SECURITY;

SELECT openhr_msg.revoke_grants(relation)
FROM unnest(ARRAY['openhr_msg.send_log', 'openhr_msg.conversation_months']::regclass[]) AS relation;

-- A page is read in the order of an index and no further than it goes, also
-- when the planner, which knows neither bounds nor length, would rather sort:
-- where one conversation fills a month, that would be the whole month.  The
-- price that it then sees for the sort of the page itself is no reason to
-- compile anything.

CREATE FUNCTION openhr_msg.list_messages(
	conversation_id uuid,
	max integer DEFAULT 50,
	before timestamptz DEFAULT NULL,
	before_seq bigint DEFAULT NULL,
	after_seq bigint DEFAULT NULL)
RETURNS SETOF @extschema@.messages
AS 'MODULE_PATHNAME', 'msg_list_messages'
LANGUAGE C STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
ROWS 50;

COMMENT ON FUNCTION openhr_msg.list_messages(uuid, integer, timestamptz, bigint, bigint) IS
'a page of messages: the newest ones, those before a time or a seq (newest first), or those after a seq (oldest first)';

CREATE FUNCTION openhr_msg.epoch()
RETURNS text
AS 'MODULE_PATHNAME', 'msg_epoch'
LANGUAGE C STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;

COMMENT ON FUNCTION openhr_msg.epoch() IS
'as long as it is the same, seq and version mean what they meant; another one after a restore or a failover';

CREATE FUNCTION openhr_msg.list_changes(
	conversation_id uuid,
	since_version bigint,
	max integer DEFAULT 50,
	epoch text DEFAULT NULL)
RETURNS SETOF @extschema@.messages
AS 'MODULE_PATHNAME', 'msg_list_changes'
LANGUAGE C STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
ROWS 50;

COMMENT ON FUNCTION openhr_msg.list_changes(uuid, bigint, integer, text) IS
'messages that were sent, edited or deleted after a version, as they are now, in the order of their versions; an error (PT410) when the epoch is not the present one';

CREATE FUNCTION openhr_msg.edit_message(
	message_id uuid,
	content text,
	expected_version bigint DEFAULT NULL)
RETURNS @extschema@.messages
AS 'MODULE_PATHNAME', 'msg_edit_message'
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.edit_message(uuid, text, bigint) IS
'changes the content of a message of the caller';

CREATE FUNCTION openhr_msg.delete_message(
	message_id uuid,
	expected_version bigint DEFAULT NULL)
RETURNS @extschema@.messages
AS 'MODULE_PATHNAME', 'msg_delete_message'
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.delete_message(uuid, bigint) IS
'empties a message of the caller and leaves a tombstone';

CREATE FUNCTION openhr_msg.mark_read(
	conversation_id uuid,
	up_to_seq bigint DEFAULT NULL)
RETURNS @extschema@.conversation_participants
AS 'MODULE_PATHNAME', 'msg_mark_read'
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.mark_read(uuid, bigint) IS
'moves the caller''s marker forward, to the last message unless told otherwise';

CREATE FUNCTION openhr_msg.apply_receipts(
	conversation_ids uuid[],
	profile_ids uuid[],
	first_seqs bigint[],
	last_seqs bigint[])
RETURNS SETOF integer
AS 'MODULE_PATHNAME', 'msg_apply_receipts'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION
	openhr_msg.apply_receipts(uuid[], uuid[], bigint[], bigint[]) IS
'for the workers: messages that have arrived at clients; returns the places, from 0, of what others have locked and is to be told again';

REVOKE ALL ON FUNCTION
	openhr_msg.apply_receipts(uuid[], uuid[], bigint[], bigint[]),
	openhr_msg.push_sent_at(timestamptz[], timestamptz),
	openhr_msg.send_message(uuid, text, text, uuid, jsonb, text),
	openhr_msg.list_messages(uuid, integer, timestamptz, bigint, bigint),
	openhr_msg.epoch(),
	openhr_msg.list_changes(uuid, bigint, integer, text),
	openhr_msg.edit_message(uuid, text, bigint),
	openhr_msg.delete_message(uuid, bigint),
	openhr_msg.mark_read(uuid, bigint)
FROM PUBLIC;

GRANT EXECUTE ON FUNCTION
	openhr_msg.send_message(uuid, text, text, uuid, jsonb, text),
	openhr_msg.list_messages(uuid, integer, timestamptz, bigint, bigint),
	openhr_msg.epoch(),
	openhr_msg.list_changes(uuid, bigint, integer, text),
	openhr_msg.edit_message(uuid, text, bigint),
	openhr_msg.delete_message(uuid, bigint),
	openhr_msg.mark_read(uuid, bigint)
TO authenticated, service_role;
