-- Ids that carry the time, and the months of messages.
--
-- In a database of its own, because which months exist depends on what was
-- sent before, and a slot sees everything.
\set home :DBNAME
SET client_min_messages = error;
CREATE DATABASE regress_partitions TEMPLATE template0 ENCODING 'UTF8';
\c regress_partitions
SET client_min_messages = error;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
CREATE EXTENSION openhr_msg;
\pset format unaligned

-- Ids: version and variant, and the order in which they were made.
SELECT bool_and(id::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]'),
	count(DISTINCT id), bool_and(id > before OR before IS NULL)
FROM (SELECT id, lag(id) OVER (ORDER BY n) AS before
	  FROM (SELECT n, openhr_msg.uuid_v7() AS id
			FROM generate_series(1, 10000) AS n) AS made) AS pairs;
SELECT openhr_msg.uuid_v7() BETWEEN
	openhr_msg.uuid_v7_floor(clock_timestamp() - interval '1 s') AND
	openhr_msg.uuid_v7_floor(clock_timestamp() + interval '1 s');

-- The smallest id of a millisecond, whatever the time zone.
SET timezone = 'America/New_York';
SELECT openhr_msg.uuid_v7_floor('1970-01-01 00:00Z'),
	openhr_msg.uuid_v7_floor('2022-02-22 14:22:22.000999-05');
RESET timezone;
SELECT openhr_msg.uuid_v7_floor('1999-12-31 23:59:59.9999Z')
	< openhr_msg.uuid_v7_floor('2000-01-01 00:00Z'),
	openhr_msg.uuid_v7_floor(NULL) IS NULL;
SELECT substring(openhr_msg.uuid_v7_floor('10889-08-02 05:31:50.655Z')::text
				 FOR 13);
SELECT openhr_msg.uuid_v7_floor('1969-12-31 23:59:59.999Z');
SELECT openhr_msg.uuid_v7_floor('10889-08-02 05:31:50.656Z');
SELECT openhr_msg.uuid_v7_floor('infinity');

-- No month is made while there are no messages, unless asked for.
SELECT openhr_msg.create_partitions();
SELECT openhr_msg.create_partitions(-1);
SELECT openhr_msg.create_partitions(121);
SELECT openhr_msg.create_partitions(0, even_if_empty => true);
SELECT openhr_msg.create_partitions(even_if_empty => true);
SELECT openhr_msg.create_partitions(even_if_empty => true);
CREATE FUNCTION partitions() RETURNS SETOF text LANGUAGE sql
AS $$ SELECT inhrelid::regclass::text FROM pg_inherits
	WHERE inhparent = 'messages'::regclass $$;
SELECT n, EXISTS (
	SELECT FROM partitions() AS name
	WHERE name = 'openhr_msg.messages_' || to_char(
		date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month',
		'YYYY_MM'))
FROM generate_series(-1, 3) n ORDER BY n;

-- A first message makes the months, too, and keeps them when it is rolled
-- back.
DO $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT partitions() LOOP
		IF name <> 'openhr_msg.messages_default' THEN
			EXECUTE 'DROP TABLE ' || name;
		END IF;
	END LOOP;
END
$$;
INSERT INTO conversations (id) VALUES
	('c0000000-0000-0000-0000-000000000001');
BEGIN;
SELECT seq FROM openhr_msg.send_message(
	'c0000000-0000-0000-0000-000000000001', 'hello');
ROLLBACK;
SELECT seq FROM openhr_msg.send_message(
	'c0000000-0000-0000-0000-000000000001', 'hello');
SELECT tableoid = ('openhr_msg.messages_' ||
				   to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM'))::regclass
FROM messages;
SELECT count(*) FROM partitions();

-- Rows wait in the default partition for their month: the last millisecond
-- of one in UTC, the first of the next, and what belongs to none: an id that
-- carries no time, and one of a time to come.
SELECT 'init' FROM pg_create_logical_replication_slot('regress_partitions', 'openhr_msg') \g /dev/null
SELECT 'init' FROM pg_create_logical_replication_slot('regress_partitions_all', 'test_decoding') \g /dev/null
SET timezone = 'Asia/Tokyo';
INSERT INTO messages (id, conversation_id, content, created_at, seq, version)
SELECT id, 'c0000000-0000-0000-0000-000000000001', content, '2020-03-01Z',
	100 + n, 100 + n
FROM (VALUES
	(1, openhr_msg.uuid_v7_floor('2020-02-29 23:59:59.999Z'), 'February'),
	(2, openhr_msg.uuid_v7_floor('2020-03-01 00:00Z'), 'March'),
	(3, openhr_msg.uuid_v7_floor('2020-03-31 23:59:59.999Z'), 'March'),
	(4, openhr_msg.uuid_v7_floor('2020-04-01 00:00Z'), 'April'),
	(5, 'deadbeef-dead-4eef-8ead-deadbeefdead'::uuid, 'no time'),
	(6, '017094c5-8000-4000-8000-000000000000'::uuid, 'no time, in March'),
	(7, openhr_msg.uuid_v7_floor(now() + interval '1 year'), 'next year'))
	AS rows (n, id, content);
CREATE TABLE before AS SELECT id, messages::text AS row FROM messages;
SELECT count(*) FROM pg_logical_slot_get_changes('regress_partitions',
	NULL, NULL) WHERE data::json->>'table' = 'messages';
SELECT count(*) > 7 FROM pg_logical_slot_get_changes('regress_partitions_all',
	NULL, NULL);
SELECT openhr_msg.create_partitions();
SELECT tableoid::regclass, content FROM messages WHERE seq > 100 ORDER BY seq;
SELECT openhr_msg.create_partitions();

-- Nobody can tell that they have moved: the rows are the same, no counter
-- went on, and no event tells of it.
SELECT count(*), count(*) FILTER (WHERE messages::text = row)
FROM messages JOIN before USING (id);
RESET timezone;
SELECT last_seq, last_version FROM conversations;
SELECT data FROM pg_logical_slot_get_changes('regress_partitions', NULL, NULL);
SELECT count(*) FROM pg_logical_slot_peek_changes('regress_partitions_all',
	NULL, NULL) WHERE data LIKE 'table %';
SELECT count(*) FROM pg_logical_slot_get_changes('regress_partitions_all',
	NULL, NULL, 'only-local', 'on') WHERE data LIKE 'table %';
SELECT 'drop' FROM pg_drop_replication_slot('regress_partitions') \g /dev/null
SELECT 'drop' FROM pg_drop_replication_slot('regress_partitions_all') \g /dev/null

-- What a month's table is like: like the parent where they share something,
-- nobody's but the owner's, and no member of the extension.
\pset format aligned
\d openhr_msg.messages_2020_03
\pset format unaligned
SELECT relname, (SELECT count(*) FROM aclexplode(relacl)
				 WHERE grantee <> relowner) AS grants,
	obj_description(oid, 'pg_class')
FROM pg_class WHERE oid IN ('openhr_msg.messages_2020_03'::regclass,
	'openhr_msg.messages_default'::regclass,
	'openhr_msg.client_messages'::regclass) ORDER BY relname;
SELECT count(*) FROM pg_depend
WHERE objid = 'openhr_msg.messages_2020_03'::regclass AND deptype = 'e';
SELECT attname FROM pg_attribute
WHERE attrelid = 'openhr_msg.messages_2020_03'::regclass AND attnum > 0
AND col_description(attrelid, attnum) IS DISTINCT FROM
	col_description('messages'::regclass, attnum);
SELECT string_agg(regexp_replace(indexdef, 'messages_(default|2020_03)', '*', 'g'),
				  E'\n' ORDER BY indexname) =
	(SELECT string_agg(regexp_replace(indexdef, 'messages_(default|2020_03)', '*', 'g'),
					   E'\n' ORDER BY indexname)
	 FROM pg_indexes WHERE tablename = 'messages_default')
FROM pg_indexes WHERE tablename = 'messages_2020_03';
SET ROLE authenticated;
SELECT count(*) FROM openhr_msg.messages_2020_03;
SELECT openhr_msg.create_partitions();
RESET ROLE;

-- An id opens one partition.
EXPLAIN (COSTS off) SELECT * FROM messages
WHERE id = openhr_msg.uuid_v7_floor('2020-03-15Z');

-- Columns of the database's own are in the months to come, too.
ALTER TABLE messages ADD COLUMN dropped text, ADD COLUMN tag text DEFAULT 'none',
	ADD COLUMN words tsvector GENERATED ALWAYS AS (to_tsvector('simple', content)) STORED;
ALTER TABLE messages DROP COLUMN dropped;
INSERT INTO messages (id, conversation_id, content, created_at, seq, version, tag)
VALUES (openhr_msg.uuid_v7_floor('2020-06-15Z'),
	'c0000000-0000-0000-0000-000000000001', 'June', '2020-06-15Z', 109, 109, 'some');
SELECT openhr_msg.create_partitions(3);
SELECT tableoid::regclass, content, tag, words FROM messages WHERE seq = 109;
ALTER TABLE messages DROP COLUMN tag, DROP COLUMN words;

-- A month that was taken out is not made again; what still comes for it
-- stays in the default partition.
ALTER TABLE messages DETACH PARTITION openhr_msg.messages_2020_02;
SELECT content FROM messages WHERE seq = 101;
INSERT INTO messages (id, conversation_id, content, created_at, seq, version)
VALUES (openhr_msg.uuid_v7_floor('2020-02-02Z'),
	'c0000000-0000-0000-0000-000000000001', 'late', '2020-02-02Z', 108, 108);
SELECT openhr_msg.create_partitions();
SELECT tableoid::regclass, content FROM messages WHERE seq = 108;
SET ROLE authenticated;
SELECT count(*) FROM openhr_msg.messages_2020_02;
RESET ROLE;

-- Nor does it go with the extension.
DROP EXTENSION openhr_msg;
DROP TABLE openhr_msg.messages_2020_02;
DROP EXTENSION openhr_msg;

\c :home
DROP DATABASE regress_partitions;
