-- The output plugin: what it tells of rows, transactions and tables.
--
-- In a database of its own, because a slot sees everything in it.  Triggers
-- are off (session_replication_role) where a row has to be exactly this one.
\set home :DBNAME
SET client_min_messages = error;
CREATE DATABASE regress_decoder TEMPLATE template0 ENCODING 'UTF8';
\c regress_decoder
SET client_min_messages = error;
CREATE EXTENSION openhr_msg;
SET session_replication_role = replica;
SELECT 'init' FROM pg_create_logical_replication_slot('regress_decoder', 'openhr_msg') \g /dev/null

-- All that is stable of the events since the last look.
CREATE VIEW events AS
SELECT e->>'ordinal' AS n, e->>'type' AS type, e->>'table' AS "table",
	jsonb_strip_nulls(e->'record') AS record, e->'old_record' AS old_record
FROM (SELECT data::jsonb AS e FROM pg_logical_slot_get_changes(
	'regress_decoder', NULL, NULL)) s;
\pset format unaligned

-- A conversation, its participants and its messages.
INSERT INTO conversations (id, title, created_at, updated_at)
VALUES ('c0000000-0000-0000-0000-000000000001', E'a "title"\n\\ \t\x01 ü😀',
	'2025-01-31 23:59:59.5+00', '2025-02-01 01:00:00+02');
INSERT INTO conversation_participants (id, conversation_id, profile_id, joined_at)
VALUES ('d0000000-0000-0000-0000-000000000001',
	'c0000000-0000-0000-0000-000000000001',
	'a0000000-0000-0000-0000-000000000001', '2025-01-01Z'),
	('d0000000-0000-0000-0000-000000000002',
	'c0000000-0000-0000-0000-000000000001',
	'a0000000-0000-0000-0000-000000000002', '2025-01-01Z');
INSERT INTO messages (id, conversation_id, sender_profile_id, content,
	metadata, created_at, seq, version)
VALUES ('f0000000-0000-0000-0000-000000000001',
	'c0000000-0000-0000-0000-000000000001',
	'a0000000-0000-0000-0000-000000000001', 'hello',
	'{"b": [1, {"c": null}], "a": "x"}', '2025-01-01Z', 1, 1);
TABLE events;

-- The identity of the old row, logged or not; of participants the whole row.
UPDATE messages SET content = 'hallo', version = 2;
UPDATE messages SET seq = 2, version = 3;
UPDATE conversations SET title = 'b', created_at = '2025-01-01Z',
	updated_at = '2025-01-01Z';
UPDATE conversation_participants SET role = 'admin'
WHERE profile_id = 'a0000000-0000-0000-0000-000000000001';
TABLE events;

DELETE FROM messages;
DELETE FROM conversation_participants
WHERE profile_id = 'a0000000-0000-0000-0000-000000000001';
TABLE events;

-- A change of hands: those who saw the row see it leave.
UPDATE conversation_participants
SET profile_id = 'a0000000-0000-0000-0000-000000000003';
UPDATE conversation_participants
SET conversation_id = 'c0000000-0000-0000-0000-000000000009';
INSERT INTO messages (id, conversation_id, content, created_at, seq, version)
VALUES ('f0000000-0000-0000-0000-000000000001',
	'c0000000-0000-0000-0000-000000000001', 'hello', '2025-01-01Z', 1, 1);
UPDATE messages SET conversation_id = 'c0000000-0000-0000-0000-000000000009';
-- The sender is nobody's key: an update like others.
UPDATE messages SET sender_profile_id = 'a0000000-0000-0000-0000-000000000001';
TABLE events;

-- Transactions: rolled back, in part, empty, of others only.
BEGIN;
DELETE FROM messages;
ROLLBACK;
BEGIN;
UPDATE messages SET content = 'one', version = 5;
SAVEPOINT s;
UPDATE messages SET content = 'two', version = 6;
ROLLBACK TO s;
SAVEPOINT t;
UPDATE messages SET content = 'three', version = 7;
RELEASE t;
UPDATE messages SET content = 'four', version = 8;
COMMIT;
BEGIN;
SELECT pg_current_xact_id() IS NOT NULL;
COMMIT;
CREATE TABLE other (id int PRIMARY KEY);
INSERT INTO other SELECT generate_series(1, 250);
UPDATE other SET id = -id;
TRUNCATE other;
-- A stranger's tables of our names, and one that has ours for a parent.
CREATE SCHEMA strange;
CREATE TABLE strange.messages (LIKE messages);
CREATE TABLE strange.conversations (id uuid) PARTITION BY LIST (id);
CREATE TABLE strange.p PARTITION OF strange.conversations DEFAULT;
CREATE TABLE strange.child () INHERITS (conversations);
INSERT INTO strange.messages SELECT * FROM messages;
INSERT INTO strange.conversations DEFAULT VALUES;
INSERT INTO strange.child DEFAULT VALUES;
TRUNCATE strange.messages;
DROP SCHEMA strange CASCADE;
DROP TABLE other;
SELECT n, type, record->>'content' AS content, old_record FROM events;

-- Rows of one transaction are numbered, in the order of the changes.
BEGIN;
UPDATE messages SET version = 10;
UPDATE conversation_participants SET role = 'member';
INSERT INTO conversations (id) VALUES ('c0000000-0000-0000-0000-000000000002');
DELETE FROM conversations WHERE id = 'c0000000-0000-0000-0000-000000000002';
COMMIT;
SELECT n, type, "table" FROM events;

-- Of broadcasts it is told what was said, in order with the rest, and not
-- that it was removed.
BEGIN;
INSERT INTO conversations (id, created_at, updated_at)
VALUES ('c0000000-0000-0000-0000-000000000003', '2025-01-01Z', '2025-01-01Z');
INSERT INTO openhr_msg.broadcasts (id, topic, event, payload, created_at)
VALUES ('f0000000-0000-0000-0000-000000000004', 'lobby', 'e', '{"a": 1}', '2025-01-01Z');
UPDATE openhr_msg.broadcasts SET event = 'f';
DELETE FROM conversations WHERE id = 'c0000000-0000-0000-0000-000000000003';
COMMIT;
DELETE FROM openhr_msg.broadcasts;
TRUNCATE openhr_msg.broadcasts;
SELECT n, type, "table", record - 'created_at' - 'updated_at' AS record FROM events;

-- Of revocations, what counts from then on.
INSERT INTO openhr_msg.token_revocations VALUES ('a0000000-0000-0000-0000-000000000001', '2025-01-01Z');
UPDATE openhr_msg.token_revocations SET revoked_at = '2025-01-02Z';
SELECT n, type, "table", record FROM events;
DELETE FROM openhr_msg.token_revocations;
TRUNCATE openhr_msg.token_revocations;
TABLE events;

-- TRUNCATE is told once a table, and not of a partition alone.
TRUNCATE openhr_msg.messages_default;
TRUNCATE messages;
TRUNCATE conversations, conversation_participants;
TABLE events;

-- The line itself.
INSERT INTO conversations (id, created_at, updated_at)
VALUES ('c0000000-0000-0000-0000-000000000001', '2025-01-01Z', '2025-01-01Z');
SELECT regexp_replace(regexp_replace(regexp_replace(data,
	'"commit_lsn":"[0-9A-F]+/[0-9A-F]+"', '"commit_lsn":"L/L"'),
	'"xid":\d+', '"xid":0'),
	'"commit_timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00"',
	'"commit_timestamp":"T"') AS data
FROM pg_logical_slot_peek_changes('regress_decoder', NULL, NULL,
	'format', 'text', 'columns', 'on');
SELECT (data::json->>'commit_lsn')::pg_lsn > lsn AS after_the_change,
	data::json->>'xid' = xid::text AS xid
FROM pg_logical_slot_get_changes('regress_decoder', NULL, NULL);

-- The binary form.  Numbers are in the order of the machine, which the magic
-- number tells.
CREATE FUNCTION number_at(event bytea, place int, size int) RETURNS bigint
LANGUAGE SQL IMMUTABLE RETURN (
	SELECT sum(get_byte(event, place + i)::bigint << CASE
		WHEN get_byte(event, 0) = x'31'::int THEN 8 * i
		ELSE 8 * (size - 1 - i) END)
	FROM generate_series(0, size - 1) i);
CREATE FUNCTION text_at(event bytea, place bigint, size bigint) RETURNS text
LANGUAGE SQL IMMUTABLE RETURN
	convert_from(substr(event, place::int + 1, size::int), 'UTF8');
BEGIN;
INSERT INTO messages (id, conversation_id, sender_profile_id, content,
	created_at, seq, version)
VALUES ('f0000000-0000-0000-0000-000000000001',
	'c0000000-0000-0000-0000-000000000001',
	'a0000000-0000-0000-0000-000000000001', 'grüße', '2025-01-01Z',
	7000000000, 8000000000);
UPDATE messages SET content = 'bye', version = version + 1;
DELETE FROM messages;
UPDATE conversations SET title = 'x';
INSERT INTO conversation_participants (id, conversation_id, profile_id)
VALUES ('d0000000-0000-0000-0000-000000000001',
	'c0000000-0000-0000-0000-000000000001',
	'a0000000-0000-0000-0000-000000000009');
TRUNCATE conversation_participants;
COMMIT;
BEGIN;
SELECT pg_current_xact_id() IS NOT NULL;
COMMIT;
CREATE TEMP TABLE binary_events AS
SELECT row_number() OVER () AS i, lsn, xid, data
FROM pg_logical_slot_get_binary_changes('regress_decoder', NULL, NULL,
	'format', 'binary');
SELECT to_hex(number_at(data, 0, 4)) AS magic,
	number_at(data, 4, 4) = length(data) AS size,
	number_at(data, 8, 1) AS table,
	chr(number_at(data, 9, 1)::int) AS action,
	number_at(data, 10, 1) AS flags,
	number_at(data, 12, 4) = xid::text::bigint AS xid,
	number_at(data, 16, 8) = max(lsn) OVER () - '0/0' AS commit_lsn,
	number_at(data, 24, 4) AS ordinal,
	abs(number_at(data, 32, 8) / 1e6 - extract(epoch FROM now())) < 3600 AS time,
	number_at(data, 40, 8) AS seq,
	number_at(data, 48, 8) AS version,
	encode(substr(data, 57, 16), 'hex') AS conversation,
	encode(substr(data, 73, 16), 'hex') AS profile
FROM binary_events ORDER BY i;
SELECT chr(number_at(data, 9, 1)::int) AS action,
	text_at(data, 96, columns)::json->0 AS first_column,
	json_array_length(text_at(data, 96, columns)::json) AS columns,
	NULLIF(text_at(data, 96 + columns, record), '')::json->>'content' AS content,
	text_at(data, 96 + columns + record, old_record) AS old_record,
	96 + columns + record + old_record = length(data) AS whole
FROM (SELECT *, number_at(data, 28, 4) AS columns,
	number_at(data, 88, 4) AS record,
	number_at(data, 92, 4) AS old_record FROM binary_events) e
WHERE columns > 0 AND number_at(data, 8, 1) = 2 ORDER BY i;

-- Options.
SELECT FROM pg_logical_slot_peek_changes('regress_decoder', NULL, NULL, 'format', 'xml');
SELECT FROM pg_logical_slot_peek_changes('regress_decoder', NULL, NULL, 'columns', 'perhaps');
SELECT FROM pg_logical_slot_peek_changes('regress_decoder', NULL, NULL, 'include-xids', '1');
SELECT FROM pg_logical_slot_peek_changes('regress_decoder', NULL, NULL, 'format', 'binary');
SELECT count(*) FROM pg_logical_slot_peek_binary_changes('regress_decoder', NULL, NULL, 'format', 'text');
-- An error leaves nothing behind.
SELECT count(*) FROM pg_logical_slot_peek_changes('regress_decoder', NULL, NULL);

SELECT pg_drop_replication_slot('regress_decoder');
\c :home
DROP DATABASE regress_decoder;
