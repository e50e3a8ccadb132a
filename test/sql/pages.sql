-- Pages: whichever way they are turned, each message comes exactly once and
-- in order, in months, at ties of the time, and where messages are missing.
\set ECHO none
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir /sql/include/chat.psql
\i :helpers
\pset format unaligned
\pset tuples_only on

-- 600 messages in 15 months, in bursts of one microsecond of up to 8.
SET timezone = 'UTC';
INSERT INTO conversations (id, type, created_at, updated_at)
VALUES (:'nobody', 'group', '2024-01-30', '2024-01-30');
INSERT INTO conversation_participants (conversation_id, profile_id)
VALUES (:'nobody', :'ann');
CREATE TABLE sent AS
SELECT n AS seq,
	timestamptz '2024-01-30 12:00:00.000001' + (n / 8) * interval '6 days'
	+ CASE WHEN n % 3 = 0 THEN interval '0' ELSE (n % 8) * interval '1 microsecond' END
	AS created_at
FROM generate_series(1, 600) n;
UPDATE sent s SET created_at = (SELECT max(created_at) FROM sent t WHERE t.seq <= s.seq);
CREATE FUNCTION id_of(t timestamptz) RETURNS uuid LANGUAGE sql
RETURN overlay(openhr_msg.uuid_v7_floor(t)::text
	PLACING right(gen_random_uuid()::text, 12) FROM 25)::uuid;
INSERT INTO messages (id, conversation_id, sender_profile_id, content, seq,
	version, created_at)
SELECT id_of(created_at), :'nobody', :'ann', 'message ' || seq, seq, seq,
	created_at
FROM sent ORDER BY seq;
SELECT openhr_msg.create_partitions() > 14;
SELECT last_seq, last_version, updated_at = (SELECT max(created_at) FROM sent),
	(SELECT count(*) FROM openhr_msg.conversation_months) =
	(SELECT count(DISTINCT date_trunc('month', created_at)) - 1 FROM sent)
FROM conversations;

-- What is read by turning pages, one way or the other.
CREATE FUNCTION turn(how text, rows integer) RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
DECLARE
	conversation uuid := (SELECT id FROM conversations);
	page messages[];
BEGIN
	LOOP
		EXECUTE format('SELECT array_agg(m) FROM openhr_msg.list_messages($1, $2'
			|| CASE WHEN page IS NULL AND how <> 'after_seq' THEN ''
			   ELSE ', %I => $3' END || ') m', how)
		INTO page
		USING conversation, rows, CASE how
			WHEN 'before' THEN NULL
			WHEN 'before_seq' THEN page[cardinality(page)].seq
			ELSE coalesce(page[cardinality(page)].seq, 0) END;
		EXIT WHEN page IS NULL;
		RETURN QUERY SELECT m.seq FROM unnest(page) WITH ORDINALITY m ORDER BY ordinality;
	END LOOP;
END
$$;
CREATE FUNCTION turn_back(rows integer) RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
DECLARE
	conversation uuid := (SELECT id FROM conversations);
	last timestamptz;
	page messages[];
BEGIN
	LOOP
		SELECT array_agg(m) INTO page
		FROM openhr_msg.list_messages(conversation, rows, before => last) m;
		EXIT WHEN page IS NULL;
		RETURN QUERY SELECT m.seq FROM unnest(page) WITH ORDINALITY m ORDER BY ordinality;
		last := page[cardinality(page)].created_at;
	END LOOP;
END
$$;
CREATE FUNCTION check_pages(OUT rows integer, OUT before boolean,
							OUT before_seq boolean, OUT after_seq boolean)
RETURNS SETOF record
LANGUAGE plpgsql AS $$
DECLARE
	truth bigint[] := (SELECT array_agg(seq ORDER BY seq) FROM messages);
	reverse bigint[] := (SELECT array_agg(seq ORDER BY seq DESC) FROM messages);
BEGIN
	FOREACH rows IN ARRAY ARRAY[1, 7, 50, 100] LOOP
		before := reverse = ARRAY(SELECT turn_back(rows));
		before_seq := reverse = ARRAY(SELECT turn('before_seq', rows));
		after_seq := truth = ARRAY(SELECT turn('after_seq', rows));
		RETURN NEXT;
	END LOOP;
END
$$;
GRANT INSERT, DELETE ON openhr_msg.conversation_months TO authenticated;
\set ECHO all
:as_ann
SELECT * FROM check_pages();

-- A page opens the months where it is, and no others.
CREATE FUNCTION pg_temp.months_opened(call text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	before bigint[] := ARRAY(
		SELECT coalesce(idx_scan, 0) + seq_scan FROM pg_stat_xact_all_tables
		WHERE relname ~ '^messages_' ORDER BY relid);
BEGIN
	EXECUTE 'SELECT FROM openhr_msg.' || call;
	RETURN (SELECT count(*) FROM unnest(before, ARRAY(
				SELECT coalesce(idx_scan, 0) + seq_scan FROM pg_stat_xact_all_tables
				WHERE relname ~ '^messages_' ORDER BY relid)) AS c (b, a)
			WHERE a > b);
END
$$;
RESET ROLE;
SELECT page, pg_temp.months_opened(format('list_messages((SELECT id FROM conversations), %s)', page))
FROM unnest(ARRAY[
	'10, before_seq => 320', '10, after_seq => 320',
	'1, before_seq => 2', '50, before_seq => 600',
	'10, before => ''2024-09-20''', '100, before_seq => 320', '10']) page;

-- What the months say can be missing or wrong; pages are right all the same.
CREATE TABLE kept AS SELECT * FROM openhr_msg.conversation_months;
DELETE FROM openhr_msg.conversation_months;
:as_ann
SELECT * FROM check_pages();
:as_owner
INSERT INTO openhr_msg.conversation_months
SELECT conversation_id, first_seq, month + interval '2 months' FROM kept;
:as_ann
SELECT * FROM check_pages();
:as_owner
TRUNCATE openhr_msg.conversation_months;
INSERT INTO openhr_msg.conversation_months SELECT * FROM kept;

-- Messages that were purged leave gaps, and no page falls into one.
DELETE FROM messages WHERE seq BETWEEN 90 AND 200 OR seq % 7 = 0 OR seq > 590;
:as_ann
SELECT * FROM check_pages();

-- The last message of the list is found in whichever month it is.
:as_owner
INSERT INTO messages (id, conversation_id, content, seq, version, created_at)
SELECT id_of('2024-02-01'), id, 'the last', 601, 601, '2024-02-01' FROM conversations;
:as_ann
SELECT (last_message).content FROM openhr_msg.list_conversations();
-- No other one is opened when it is where it should be, wherever the reader
-- lives: a month of New York begins when the one before may be shorter.
:as_owner
INSERT INTO messages (id, conversation_id, content, seq, version, created_at)
SELECT id_of('2025-05-31'), id, 'the very last', 602, 602, '2025-05-31' FROM conversations;
SELECT openhr_msg.create_partitions();
:as_ann
SELECT zone, set_config('timezone', zone, false) = zone,
	pg_temp.months_opened('list_conversations()')
FROM unnest(ARRAY['Asia/Tokyo', 'America/New_York', 'UTC']) zone;
SELECT (last_message).content FROM openhr_msg.list_conversations();

\set ECHO none
CREATE FUNCTION pg_temp.drop_months() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	month regclass;
BEGIN
	FOR month IN SELECT inhrelid FROM pg_inherits
		WHERE inhparent = 'messages'::regclass
		AND inhrelid <> 'openhr_msg.messages_default'::regclass
	LOOP
		EXECUTE format('DROP TABLE %s', month);
	END LOOP;
END
$$;
\set ECHO all
-- A page reads no more than it shows, also when one conversation has all the
-- messages of a month.
:as_owner
TRUNCATE conversations;
SELECT pg_temp.drop_months();
SET session_replication_role = replica;
INSERT INTO conversations (id, created_at, updated_at, last_seq, last_version)
VALUES (:'nobody', '2025-07-01', '2025-07-31', 30000, 30000);
INSERT INTO conversation_participants (conversation_id, profile_id)
VALUES (:'nobody', :'ann');
INSERT INTO messages (id, conversation_id, content, seq, version, created_at)
SELECT openhr_msg.uuid_v7_floor(at), :'nobody', 'many', n, n, at
FROM generate_series(1, 30000) n,
	LATERAL (SELECT timestamptz '2025-07-01' + n * interval '1 minute') s (at);
RESET session_replication_role;
SELECT openhr_msg.create_partitions(0);
ANALYZE messages;
CREATE FUNCTION pg_temp.rows_read(call text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	before bigint := (SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))
		FROM pg_stat_xact_all_tables WHERE relname ~ '^messages_');
BEGIN
	EXECUTE 'SELECT FROM openhr_msg.' || call;
	RETURN (SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) - before
		FROM pg_stat_xact_all_tables WHERE relname ~ '^messages_');
END
$$;
:as_ann
SELECT page, pg_temp.rows_read(format(page, (SELECT id FROM conversations))) < 60
FROM unnest(ARRAY[
	'list_messages(%L)',
	'list_messages(%L, before => ''2025-07-02'')',
	'list_messages(%L, before_seq => 2000)',
	'list_messages(%L, after_seq => 2000)',
	'list_changes(%L, 2000)']) AS page;

\set ECHO none
:as_owner
TRUNCATE conversations;
DELETE FROM profiles;
DROP TABLE sent, kept;
DROP FUNCTION answer, id_of, turn, turn_back, check_pages;
REVOKE ALL ON openhr_msg.conversation_months FROM authenticated;
SELECT pg_temp.drop_months();
