-- What clients that were away are told of: how far they had come, and who has
-- left since.  src/client_positions.c, src/departures.c, src/catchup.c.

CREATE TABLE openhr_msg.client_positions (
	profile_id uuid,
	client_id text COLLATE "C"
		CONSTRAINT client_positions_client_id_check
		CHECK (octet_length(client_id) <= 64),
	topic text COLLATE "C",
	seen pg_snapshot NOT NULL,
	more xid8[] NOT NULL,
	taken_at timestamptz NOT NULL,
	session bigint NOT NULL,
	seen_at timestamptz NOT NULL,
	CONSTRAINT client_positions_pkey
		PRIMARY KEY (profile_id, client_id, topic)
) WITH (fillfactor = 50);		-- rows are updated all the time, and in place

COMMENT ON TABLE openhr_msg.client_positions IS
'how far clients with a client_id have come in a topic; removed when not used for 30 days';
COMMENT ON COLUMN openhr_msg.client_positions.profile_id IS
'whose client it is';
COMMENT ON COLUMN openhr_msg.client_positions.client_id IS
'the name that the client gave itself';
COMMENT ON COLUMN openhr_msg.client_positions.topic IS
'the topic that it has joined';
COMMENT ON COLUMN openhr_msg.client_positions.seen IS
'transactions whose changes it has, those of a snapshot';
COMMENT ON COLUMN openhr_msg.client_positions.more IS
'further transactions whose changes it has, ascending';
COMMENT ON COLUMN openhr_msg.client_positions.taken_at IS
'when the snapshot was taken';
COMMENT ON COLUMN openhr_msg.client_positions.session IS
'its latest stay, whose gateway may move the position';
COMMENT ON COLUMN openhr_msg.client_positions.seen_at IS
'when it came back, or the position was moved, the last time';

CREATE TABLE openhr_msg.departures (
	id uuid DEFAULT openhr_msg.uuid_v7()
		CONSTRAINT departures_pkey PRIMARY KEY,
	conversation_id uuid NOT NULL,
	profile_id uuid NOT NULL,
	left_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	was_deleted boolean NOT NULL,
	old_record json NOT NULL
);

CREATE INDEX departures_conversation_id_id_idx
	ON openhr_msg.departures (conversation_id, id);
CREATE INDEX departures_profile_id_id_idx
	ON openhr_msg.departures (profile_id, id);

COMMENT ON TABLE openhr_msg.departures IS
'who has left which conversation in the last 31 days';
COMMENT ON COLUMN openhr_msg.departures.id IS
'by time: UUIDv7';
COMMENT ON COLUMN openhr_msg.departures.conversation_id IS
'the conversation';
COMMENT ON COLUMN openhr_msg.departures.profile_id IS
'who has left it';
COMMENT ON COLUMN openhr_msg.departures.left_at IS
'when';
COMMENT ON COLUMN openhr_msg.departures.was_deleted IS
'true when the conversation itself was deleted';
COMMENT ON COLUMN openhr_msg.departures.old_record IS
'the row of the participant, as the output plugin tells it';

ALTER TABLE openhr_msg.client_positions ENABLE ROW LEVEL SECURITY;
ALTER TABLE openhr_msg.client_positions FORCE ROW LEVEL SECURITY;
ALTER TABLE openhr_msg.departures ENABLE ROW LEVEL SECURITY;
ALTER TABLE openhr_msg.departures FORCE ROW LEVEL SECURITY;

SELECT openhr_msg.revoke_grants(relation)
FROM unnest(ARRAY['openhr_msg.client_positions', 'openhr_msg.departures']::regclass[]) AS relation;

CREATE FUNCTION openhr_msg.participants_removed() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_participants_removed'
LANGUAGE C SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.participants_removed() IS
'notes who has left';

CREATE TRIGGER note_departures
	AFTER DELETE ON @extschema@.conversation_participants
	REFERENCING OLD TABLE AS removed
	FOR EACH STATEMENT EXECUTE FUNCTION openhr_msg.participants_removed();

COMMENT ON TRIGGER note_departures ON @extschema@.conversation_participants IS
'clients that are away are told when they come back';

-- The same as the workers do, for people who look for what a client has
-- missed, and for tests.

CREATE FUNCTION openhr_msg.mark()
RETURNS pg_snapshot
AS 'MODULE_PATHNAME', 'msg_mark'
LANGUAGE C VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp;

COMMENT ON FUNCTION openhr_msg.mark() IS
'the present place in the stream of changes, as client_positions has it';

CREATE FUNCTION openhr_msg.missed_changes(
	profile_id uuid,
	seen pg_snapshot,
	more xid8[] DEFAULT '{}',
	taken_at timestamptz DEFAULT now(),
	until pg_snapshot DEFAULT NULL,
	conversation_id uuid DEFAULT NULL,
	max integer DEFAULT NULL,
	after bytea DEFAULT NULL,
	OUT relation text,
	OUT action text,
	OUT record json,
	OUT old_record json,
	OUT cursor bytea)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'msg_missed_changes'
LANGUAGE C VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
ROWS 100;

COMMENT ON FUNCTION openhr_msg.missed_changes(uuid, pg_snapshot, xid8[], timestamptz, pg_snapshot, uuid, integer, bytea) IS
'what a profile has missed since a position: everything, or with max a batch, whose cursor is where the next one goes on (null: it was the last)';

CREATE FUNCTION openhr_msg.resume_position(
	profile_id uuid,
	client_id text,
	topic text,
	OUT known boolean,
	OUT seen pg_snapshot,
	OUT more xid8[],
	OUT taken_at timestamptz,
	OUT session bigint)
RETURNS record
AS 'MODULE_PATHNAME', 'msg_resume_position_sql'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp;

COMMENT ON FUNCTION openhr_msg.resume_position(uuid, text, text) IS
'for the workers: a client comes back, or is known from now on';

CREATE FUNCTION openhr_msg.save_position(
	profile_id uuid,
	client_id text,
	topic text,
	session bigint,
	seen pg_snapshot,
	more xid8[] DEFAULT '{}',
	taken_at timestamptz DEFAULT now())
RETURNS void
AS 'MODULE_PATHNAME', 'msg_save_position_sql'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp;

COMMENT ON FUNCTION openhr_msg.save_position(uuid, text, text, bigint, pg_snapshot, xid8[], timestamptz) IS
'for the workers: how far a client has come';

REVOKE ALL ON FUNCTION
	openhr_msg.participants_removed(), openhr_msg.mark(),
	openhr_msg.missed_changes(uuid, pg_snapshot, xid8[], timestamptz, pg_snapshot, uuid, integer, bytea),
	openhr_msg.resume_position(uuid, text, text),
	openhr_msg.save_position(uuid, text, text, bigint, pg_snapshot, xid8[], timestamptz)
FROM PUBLIC;
