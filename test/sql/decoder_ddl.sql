-- The output plugin under DDL: every row is told as its table was at the time.
\set home :DBNAME
SET client_min_messages = error;
CREATE DATABASE regress_decoder TEMPLATE template0 ENCODING 'UTF8';
\c regress_decoder
SET client_min_messages = error;
CREATE EXTENSION openhr_msg;
SET session_replication_role = replica;

-- A partition whose columns are at other places than the root's, with holes.
DO $$
DECLARE
	names text;
	checks text;
BEGIN
	SELECT string_agg(format('%I %s %s, ', attname,
			format_type(atttypid, atttypmod),
			CASE WHEN attnotnull THEN 'NOT NULL' END), '' ORDER BY attnum DESC)
	INTO names
	FROM pg_attribute WHERE attrelid = 'messages'::regclass AND attnum > 0;
	SELECT string_agg(format(', CONSTRAINT %I %s', conname,
			pg_get_constraintdef(oid)), '')
	INTO checks
	FROM pg_constraint WHERE conrelid = 'messages'::regclass AND contype = 'c';
	EXECUTE format('CREATE TABLE low (hole1 int, %s hole2 text %s)', names, checks);
END $$;
ALTER TABLE low DROP hole1, DROP hole2, ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX low_identity ON low (conversation_id, seq, id);
ALTER TABLE low REPLICA IDENTITY USING INDEX low_identity;
ALTER TABLE messages ATTACH PARTITION low FOR VALUES
	FROM ('00000000-0000-0000-0000-000000000000')
	TO ('00000010-0000-0000-0000-000000000000');
SELECT 'init' FROM pg_create_logical_replication_slot('regress_decoder', 'openhr_msg') \g /dev/null

CREATE VIEW events AS
SELECT e->>'ordinal' AS n, e->>'type' AS type, e->>'schema' AS schema,
	e->>'table' AS "table", jsonb_strip_nulls(e->'record') AS record,
	e->'old_record' AS old_record
FROM (SELECT data::jsonb AS e FROM pg_logical_slot_get_changes(
	'regress_decoder', NULL, NULL)) s;
CREATE PROCEDURE say(id uuid, what text, number int) LANGUAGE SQL AS $$
	INSERT INTO messages (id, conversation_id, content, created_at, seq, version)
	VALUES (id, 'c0000000-0000-0000-0000-000000000001', what, '2025-01-01Z',
		number, number)
$$;
\pset format unaligned

CALL say('00000000-0000-0000-0000-000000000001', 'low', 1);
CALL say('f0000000-0000-0000-0000-000000000001', 'default', 2);
UPDATE messages SET content = content || '!', is_edited = true;
SELECT n, type, "table", record - '{conversation_id,created_at,content_type}'::text[]
	AS record, old_record FROM events;

-- A row that moves to another partition leaves and comes.
UPDATE messages SET id = '00000000-0000-0000-0000-000000000002' WHERE seq = 2;
SELECT n, type, record->'id' AS new, old_record->'id' AS old FROM events;

-- Columns come and go in the middle of a transaction.
BEGIN;
ALTER TABLE messages ADD stars int DEFAULT 5, DROP is_edited;
UPDATE messages SET version = 10 WHERE seq = 1;
ALTER TABLE messages RENAME stars TO points;
UPDATE messages SET points = points + 1 WHERE seq = 1;
ALTER TABLE messages DROP points;
UPDATE messages SET version = 11 WHERE seq = 1;
COMMIT;
SELECT n, type, record->'version' AS version, record->'stars' AS stars,
	record->'points' AS points, record ? 'is_edited' AS is_edited FROM events;

-- What a table was called when the row was written.
BEGIN;
INSERT INTO conversations (id) VALUES ('c0000000-0000-0000-0000-000000000001');
ALTER TABLE conversations RENAME TO chats;
INSERT INTO chats (id) VALUES ('c0000000-0000-0000-0000-000000000002');
ALTER TABLE chats RENAME TO conversations;
INSERT INTO conversations (id) VALUES ('c0000000-0000-0000-0000-000000000003');
ALTER TABLE messages RENAME TO notes;
UPDATE notes SET version = 12 WHERE seq = 1;
ALTER TABLE notes RENAME TO messages;
UPDATE messages SET version = 13 WHERE seq = 1;
ALTER SCHEMA public RENAME TO private;
UPDATE private.messages SET version = 14 WHERE seq = 1;
ALTER SCHEMA private RENAME TO public;
UPDATE messages SET version = 15 WHERE seq = 1;
COMMIT;
SELECT n, type, schema, "table", record->'id' AS id, record->'version' AS version
FROM events;

-- Replica identity: none, another, the one it had.
BEGIN;
ALTER TABLE low REPLICA IDENTITY NOTHING;
UPDATE messages SET version = 20 WHERE seq = 1;
DELETE FROM messages WHERE seq = 1;
ALTER TABLE low REPLICA IDENTITY DEFAULT;
UPDATE messages SET version = 21 WHERE seq = 2;
ALTER TABLE low REPLICA IDENTITY FULL;
UPDATE messages SET version = 22, content = 'full' WHERE seq = 2;
ALTER TABLE low REPLICA IDENTITY USING INDEX low_identity;
DELETE FROM messages WHERE seq = 2;
COMMIT;
SELECT n, type, record->'version' AS version, old_record FROM events;
ALTER TABLE low REPLICA IDENTITY NOTHING;
CALL say('00000000-0000-0000-0000-000000000001', 'low', 1);
DELETE FROM messages;
SELECT chr(get_byte(data, 9)) AS action, encode(substr(data, 57, 16), 'hex') AS conversation
FROM pg_logical_slot_get_binary_changes('regress_decoder', NULL, NULL, 'format', 'binary');
ALTER TABLE low REPLICA IDENTITY USING INDEX low_identity;

-- A partition that was detached, or dropped, before its rows are decoded.
CALL say('00000000-0000-0000-0000-000000000003', 'attached', 3);
ALTER TABLE messages DETACH PARTITION low;
INSERT INTO low (id, conversation_id, content, content_type, created_at, is_deleted, seq, version)
VALUES ('00000000-0000-0000-0000-000000000004',
	'c0000000-0000-0000-0000-000000000001', 'detached', 'text', '2025-01-01Z', false, 4, 4);
DELETE FROM low;
ALTER TABLE messages ATTACH PARTITION low FOR VALUES
	FROM ('00000000-0000-0000-0000-000000000000')
	TO ('00000010-0000-0000-0000-000000000000');
CALL say('00000000-0000-0000-0000-000000000005', 'attached again', 5);
DROP TABLE low;
SELECT n, type, "table", record->'content' AS content FROM events;

-- Rows moved by maintenance, between partitions that are detached meanwhile:
-- nobody hears of it.
CALL say('00000000-0000-0000-0000-000000000006', 'to be moved', 6);
BEGIN;
ALTER TABLE messages DETACH PARTITION openhr_msg.messages_default;
CREATE TABLE low (LIKE messages INCLUDING CONSTRAINTS);
INSERT INTO low SELECT * FROM openhr_msg.messages_default;
DELETE FROM openhr_msg.messages_default;
ALTER TABLE messages ATTACH PARTITION low FOR VALUES
	FROM ('00000000-0000-0000-0000-000000000000')
	TO ('00000010-0000-0000-0000-000000000000');
ALTER TABLE messages ATTACH PARTITION openhr_msg.messages_default DEFAULT;
COMMIT;
SELECT tableoid::regclass, content FROM messages;
SELECT n, type, "table", record->'content' AS content FROM events;

-- Partitions of partitions.
CREATE TABLE deep PARTITION OF messages FOR VALUES
	FROM ('00000010-0000-0000-0000-000000000000')
	TO ('00000020-0000-0000-0000-000000000000') PARTITION BY HASH (seq);
CREATE TABLE deeper PARTITION OF deep FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CALL say('00000010-0000-0000-0000-000000000001', 'deep', 7);
TRUNCATE messages;
SELECT n, type, "table", record->'content' AS content FROM events;
DROP TABLE deep;

-- The extension goes and comes again, in the same stream.
CALL say('f0000000-0000-0000-0000-000000000008', 'before', 8);
BEGIN;
CALL say('f0000000-0000-0000-0000-000000000009', 'just before', 9);
DROP VIEW events;
DROP EXTENSION openhr_msg CASCADE;
DROP SCHEMA IF EXISTS openhr_msg CASCADE;
CREATE TABLE messages (id int, content text);
INSERT INTO messages VALUES (1, 'a stranger');
DROP TABLE messages;
CREATE EXTENSION openhr_msg;
CALL say('f0000000-0000-0000-0000-00000000000a', 'just after', 10);
COMMIT;
CALL say('f0000000-0000-0000-0000-00000000000b', 'after', 11);
SELECT data::json->>'ordinal' AS n, data::json->>'type' AS type,
	data::json->'record'->'content' AS content
FROM pg_logical_slot_get_changes('regress_decoder', NULL, NULL);

-- Out of the extension, out of the stream.
ALTER EXTENSION openhr_msg DROP TABLE conversations;
INSERT INTO conversations DEFAULT VALUES;
SELECT count(*) FROM pg_logical_slot_get_changes('regress_decoder', NULL, NULL);
ALTER EXTENSION openhr_msg ADD TABLE conversations;
INSERT INTO conversations DEFAULT VALUES;
SELECT count(*) FROM pg_logical_slot_get_changes('regress_decoder', NULL, NULL);

SELECT pg_drop_replication_slot('regress_decoder');
\c :home
DROP DATABASE regress_decoder;
