-- The output plugin: every type of value, TOAST, and rows that are too large.
\set home :DBNAME
SET client_min_messages = error;
CREATE DATABASE regress_decoder TEMPLATE template0 ENCODING 'UTF8';
\c regress_decoder
SET client_min_messages = error;
CREATE EXTENSION openhr_msg;
SET session_replication_role = replica;

-- Columns that a user added.
CREATE TYPE mood AS ENUM ('glad', 'so "so"');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN positives AS positive[];
CREATE TYPE point3 AS (x int, "y ""q""" timestamptz, z text[]);
CREATE TYPE nested AS (p point3, n numeric, gone int);
ALTER TYPE nested DROP ATTRIBUTE gone;
CREATE TYPE raw;
CREATE FUNCTION raw_in(cstring) RETURNS raw
AS 'textin' LANGUAGE internal IMMUTABLE STRICT;
CREATE FUNCTION raw_out(raw) RETURNS cstring
AS 'textout' LANGUAGE internal IMMUTABLE STRICT;
CREATE TYPE raw (INPUT = raw_in, OUTPUT = raw_out, LIKE = text);
CREATE CAST (bytea AS raw) WITHOUT FUNCTION;
CREATE TYPE nothing AS ();
ALTER TABLE conversations
	ADD i2 int2, ADD i4 int4, ADD i8 int8, ADD o oid,
	ADD f4 float4, ADD f8 float8, ADD n numeric, ADD m money,
	ADD b bool, ADD t text, ADD v varchar(10), ADD c char(5), ADD nm name,
	ADD c1 "char", ADD u uuid, ADD by bytea,
	ADD d date, ADD ti time, ADD tz timetz, ADD ts timestamp, ADD tt timestamptz,
	ADD iv interval, ADD j json, ADD jb jsonb, ADD x xml,
	ADD ia int[], ADD ta text[], ADD tta timestamptz[], ADD ba bytea[],
	ADD ja jsonb[], ADD e mood, ADD ea mood[], ADD dm positive, ADD da positives,
	ADD co nested, ADD ca nested[], ADD no nothing, ADD r numrange,
	ADD mr int4multirange, ADD ip inet, ADD pt point, ADD bi varbit,
	ADD tv tsvector, ADD iv2 int2vector, ADD rc regclass, ADD w raw,
	ADD "Strange ""key""	ü" int,
	ADD gen int GENERATED ALWAYS AS (i4 / 2) STORED;
SELECT 'init' FROM pg_create_logical_replication_slot('regress_decoder', 'openhr_msg') \g /dev/null

-- Settings of the session that must not matter.
SET lc_monetary = 'C';
SET TimeZone = 'Asia/Kathmandu';
SET DateStyle = 'German';
\pset format unaligned
\pset null '(null)'

INSERT INTO conversations (i2, i4, i8, o, f4, f8, n, m, b, t, v, c, nm, c1, u,
	by, d, ti, tz, ts, tt, iv, j, jb, x, ia, ta, tta, ba, ja, e, ea, dm, da,
	co, ca, no, r, mr, ip, pt, bi, tv, iv2, rc, "Strange ""key""	ü")
VALUES (-32768, -2147483648, -9223372036854775808, 4294967295,
	1.5, 1e300, 123456789012345678901234567890.10, '1.5', true,
	E'"quotes" \\ / \b\f\n\r\t\x1f\x7f ünï😀  ', 'abc', 'ab', 'name', 'q',
	'0189a5f0-7c4b-7a3e-9b1d-0123456789ab', '\x00ff10', '2025-02-03',
	'04:05:06.7', '04:05:06+02', '2025-02-03 04:05:06.000007',
	'2025-02-03 04:05:06.5+00', '1 day 02:00', E'{"a":\n\t[1,\r\n2.50]}',
	'{"k": ["x\ty", 1.50, 1e3, true, null, {}, [], {"u": "\u00fc"}]}',
	'<a>"&amp;"</a>', '{{1,2},{3,NULL}}', '{a,"b \"c\"",NULL,""}',
	'{2025-02-03 04:05:06+00}', '{"\\x01ff"}', '{"{\"a\": 1}",NULL}',
	'so "so"', '{glad,"so \"so\""}', 7, '{7,8}',
	ROW(ROW(1, '2025-02-03 04:05:06+00', '{p,q}'), 1.10)::nested,
	ARRAY[ROW(NULL, 'NaN')::nested, NULL], ROW()::nothing,
	'[1.5,2.5)', '{[1,3),[5,7)}', '10.1.2.3/8', '(1,2)',
	B'101', 'a:1 b', '1 2', 'pg_class', 5);
-- All of it is JSON, in the order of the table.
SELECT key, value, json_typeof(value) FROM pg_logical_slot_get_changes(
	'regress_decoder', NULL, NULL), json_each(data::json->'record')
WHERE key NOT IN ('id', 'created_at', 'updated_at');

-- What JSON has no word for.
INSERT INTO conversations (f4, f8, n, d, ts, tt, c1, jb, ia, ta, j)
VALUES ('NaN', '-Infinity', 'Infinity', 'infinity', '-infinity',
	'0044-03-15 12:00+00 BC', '', '"scalar"', '{}', '[2:3]={a,b}',
	'1'),
	('Infinity', 'NaN', 'NaN', '0044-03-15 BC', '2025-01-01', 'infinity',
	NULL, '1.0', NULL, '{NULL}', 'null');
SELECT key, value FROM pg_logical_slot_get_changes(
	'regress_decoder', NULL, NULL), json_each(data::json->'record')
WHERE key IN ('f4', 'f8', 'n', 'd', 'ts', 'tt', 'c1', 'jb', 'ia', 'ta', 'j');

-- An output function that returns what is no text.
INSERT INTO conversations (w) VALUES ('\x61e922c3a9ff'::bytea::raw);
SELECT data::json->'record'->'w' AS w
FROM pg_logical_slot_get_changes('regress_decoder', NULL, NULL);

-- What has to be escaped, at every place in strings of every length.
INSERT INTO messages (id, conversation_id, content, created_at, seq, version)
SELECT gen_random_uuid(), 'c0000000-0000-0000-0000-000000000001',
	repeat('a', before) || c || repeat('ü', after), now(), 1, 1
FROM unnest(ARRAY['', '"', E'\\', E'\x01', E'\x1f', ' ', '!', '#', '[', ']',
		E'\x7f', 'é', '😀', E'\n"\\"']) c,
	generate_series(0, 17) before, generate_series(0, 9) after;
SELECT count(*), count(*) FILTER (WHERE content = data::json->'record'->>'content')
FROM pg_logical_slot_get_changes('regress_decoder', NULL, NULL)
JOIN messages ON id::text = data::json->'record'->>'id';

-- What is added, renamed and removed later is named and numbered as it was.
BEGIN;
INSERT INTO conversations (e, dm) VALUES ('glad', 1);
ALTER TYPE mood RENAME VALUE 'glad' TO 'happy';
ALTER TYPE mood RENAME TO feeling;
INSERT INTO conversations (e, dm) VALUES ('happy', 2);
ALTER TABLE conversations RENAME dm TO dominion;
INSERT INTO conversations (e, dominion) VALUES ('happy', 3);
ALTER TABLE conversations DROP dominion, ADD late text DEFAULT 'late';
INSERT INTO conversations (e) VALUES ('happy');
UPDATE conversations SET title = 'old row' WHERE i2 = -32768;
COMMIT;
SELECT data::json->'record'->'e' AS e, data::json->'record'->'dm' AS dm,
	data::json->'record'->'dominion' AS dominion,
	data::json->'record'->'late' AS late,
	(SELECT json_agg(c) FROM json_array_elements(data::json->'columns') c
	 WHERE c->>'name' IN ('e', 'dm', 'dominion', 'late'))
FROM pg_logical_slot_get_changes('regress_decoder', NULL, NULL, 'columns', 'on');

-- TOAST.  Compressed in the row; out of it; not logged because unchanged.
TRUNCATE conversations, conversation_participants, messages;
ALTER TABLE messages ADD note text, ADD more jsonb;
ALTER TABLE conversation_participants ADD note text;
INSERT INTO messages (id, conversation_id, content, created_at, seq, version, note, more)
SELECT 'f0000000-0000-0000-0000-000000000001',
	'c0000000-0000-0000-0000-000000000001', repeat('ab', 5000), '2025-01-01Z', 1, 1,
	string_agg(md5(i::text), ''), jsonb_agg(md5(i::text))
FROM generate_series(1, 3200) i;
UPDATE messages SET version = 2;
UPDATE messages SET version = 3, content = 'c', note = note || '!';
UPDATE messages SET version = 4, note = NULL;
DELETE FROM messages;
CREATE TEMP TABLE toasted AS
SELECT data::jsonb AS e FROM pg_logical_slot_get_changes('regress_decoder', NULL, NULL);
SELECT e->>'type' AS type, e->'partial' AS partial,
	e->'record' ? 'note' AS has_note, e->'record' ? 'more' AS has_more,
	length(e->'record'->>'content') AS content,
	length(e->'record'->>'note') AS note,
	jsonb_array_length(e->'record'->'more') AS more, e->'old_record' AS old_record
FROM toasted WHERE e->>'type' <> 'TRUNCATE';
-- Replica identity FULL brings the value along.
INSERT INTO conversation_participants (id, conversation_id, profile_id, note)
SELECT 'd0000000-0000-0000-0000-000000000001',
	'c0000000-0000-0000-0000-000000000001',
	'a0000000-0000-0000-0000-000000000001', string_agg(md5(i::text), '')
FROM generate_series(1, 3200) i;
UPDATE conversation_participants SET role = 'admin';
UPDATE conversation_participants SET profile_id = 'a0000000-0000-0000-0000-000000000002';
DELETE FROM conversation_participants;
SELECT data::json->>'type' AS type, data::json->'partial' AS partial,
	length(data::json->'record'->>'note') AS note,
	length(data::json->'old_record'->>'note') AS old_note
FROM pg_logical_slot_get_changes('regress_decoder', NULL, NULL);

-- Too large: short values stay.  However it comes to be large, and however
-- small it was stored: a gigabyte of text out of a few kilobytes of jsonb, a
-- text that doubles in JSON, many middle-sized columns together.
INSERT INTO messages (id, conversation_id, content, created_at, seq, version, note)
VALUES ('f0000000-0000-0000-0000-000000000001',
	'c0000000-0000-0000-0000-000000000001', 'fits', '2025-01-01Z', 1, 1,
	repeat('x', 1024 * 1024 - 600));
INSERT INTO messages (id, conversation_id, content, created_at, seq, version, note)
VALUES ('f0000000-0000-0000-0000-000000000002',
	'c0000000-0000-0000-0000-000000000001', 'long', '2025-01-01Z', 2, 1,
	repeat('x', 30 * 1024 * 1024));
INSERT INTO messages (id, conversation_id, content, created_at, seq, version, more)
VALUES ('f0000000-0000-0000-0000-000000000003',
	'c0000000-0000-0000-0000-000000000001', repeat('y', 62), '2025-01-01Z', 3, 1,
	('[' || repeat('1e131071,', 10000) || '1]')::jsonb);
INSERT INTO messages (id, conversation_id, content, created_at, seq, version, note)
VALUES ('f0000000-0000-0000-0000-000000000004',
	'c0000000-0000-0000-0000-000000000001', repeat('y', 63), '2025-01-01Z', 4, 1,
	repeat(E'\x01', 1024 * 1024 - 600));
INSERT INTO messages (id, conversation_id, content, created_at, seq, version, note, more)
VALUES ('f0000000-0000-0000-0000-000000000005',
	'c0000000-0000-0000-0000-000000000001', 'both', '2025-01-01Z', 5, 1,
	repeat('z', 700000), to_jsonb(repeat('z', 700000)));
UPDATE messages SET version = 2, more = '[]' WHERE seq = 5;
SELECT data::json->>'type' AS type, data::json->'too_large' AS too_large,
	data::json->'partial' AS partial,
	length(data) BETWEEN 300 AND 1048576 + 300 AS in_bounds,
	(data::jsonb->'record'->'content')::text AS content,
	(SELECT string_agg(key, ' ') FROM json_each(data::json->'record')
	 WHERE value::text <> 'null') AS keys
FROM pg_logical_slot_peek_changes('regress_decoder', NULL, NULL);
SELECT get_byte(data, 10) AS flags, length(data) BETWEEN 300 AND 1048576 + 2048 AS in_bounds
FROM pg_logical_slot_get_binary_changes('regress_decoder', NULL, NULL, 'format', 'binary')
WHERE get_byte(data, 9) <> ascii('C');

-- Arrays and composites obey the limit, too; deep ones are no problem.
ALTER TABLE conversation_participants DROP note, ADD many int[], ADD bits bytea,
	ADD deep nested[], ADD blob xml;
INSERT INTO conversation_participants (id, conversation_id, profile_id, many)
SELECT 'd0000000-0000-0000-0000-000000000001',
	'c0000000-0000-0000-0000-000000000001',
	'a0000000-0000-0000-0000-000000000001', array_agg(i)
FROM generate_series(1, 1000000) i;
UPDATE conversation_participants SET many = NULL,
	bits = convert_to(repeat('x', 600000), 'UTF8');
UPDATE conversation_participants SET bits = NULL, deep =
	(SELECT array_agg(ROW(ROW(i, NULL, NULL)::point3, i)::nested)
	 FROM generate_series(1, 100000) i);
UPDATE conversation_participants SET deep = NULL,
	blob = ('<a>' || repeat('x', 2000000) || '</a>')::xml;
UPDATE conversation_participants SET blob = NULL, many =
	(SELECT array_agg(i) FROM generate_series(1, 100000) i);
SELECT data::json->>'type' AS type, data::json->'too_large' AS too_large,
	(SELECT string_agg(key, ' ') FROM json_each(data::json->'record')
	 WHERE key IN ('many', 'bits', 'deep', 'blob')) AS new,
	(SELECT string_agg(key, ' ') FROM json_each(data::json->'old_record')
	 WHERE key IN ('many', 'bits', 'deep', 'blob')) AS old,
	jsonb_array_length(NULLIF(data::jsonb->'record'->'many', 'null')) AS many
FROM pg_logical_slot_get_changes('regress_decoder', NULL, NULL);

SELECT pg_drop_replication_slot('regress_decoder');
\c :home
DROP DATABASE regress_decoder;
