-- Broadcasts: words to all who listen to a topic.  src/broadcasts.c.

CREATE TABLE openhr_msg.broadcasts (
	id uuid DEFAULT openhr_msg.uuid_v7()
		CONSTRAINT broadcasts_pkey PRIMARY KEY,
	conversation_id uuid,
	topic text NOT NULL,
	event text NOT NULL,
	payload jsonb NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX broadcasts_topic_id_idx ON openhr_msg.broadcasts (topic, id);
CREATE INDEX broadcasts_conversation_id_idx
	ON openhr_msg.broadcasts (conversation_id);

COMMENT ON TABLE openhr_msg.broadcasts IS
'what was broadcast from SQL in the last 72 hours';
COMMENT ON COLUMN openhr_msg.broadcasts.id IS
'by time: UUIDv7';
COMMENT ON COLUMN openhr_msg.broadcasts.conversation_id IS
'whose topic it is; null: no conversation''s';
COMMENT ON COLUMN openhr_msg.broadcasts.topic IS
'the name by which clients join, without "realtime:"';
COMMENT ON COLUMN openhr_msg.broadcasts.event IS
'what clients tell broadcasts apart by';
COMMENT ON COLUMN openhr_msg.broadcasts.payload IS
'an object';
COMMENT ON COLUMN openhr_msg.broadcasts.created_at IS
'when its transaction began';

ALTER TABLE openhr_msg.broadcasts ENABLE ROW LEVEL SECURITY;
ALTER TABLE openhr_msg.broadcasts FORCE ROW LEVEL SECURITY;

SELECT openhr_msg.revoke_grants('openhr_msg.broadcasts');

CREATE FUNCTION openhr_msg.broadcast(
	topic text,
	event text,
	payload jsonb DEFAULT '{}')
RETURNS uuid
AS 'MODULE_PATHNAME', 'msg_broadcast'
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.broadcast(text, text, jsonb) IS
'sends an event to the clients that have joined a topic, when the transaction commits; returns its id';

REVOKE ALL ON FUNCTION openhr_msg.broadcast(text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION openhr_msg.broadcast(text, text, jsonb)
	TO authenticated, service_role;
