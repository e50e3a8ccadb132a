-- What has arrived, and what was read: markers and ticks.
\set ECHO none
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir /sql/include/rules.psql
\i :helpers
\pset format unaligned
\pset tuples_only on

-- What the workers do; participants and ranges as "name first last".
CREATE FUNCTION arrives(conversation uuid, VARIADIC receipts text[])
RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(place::text, ' ' ORDER BY place), 'done')
	FROM (SELECT array_agg(conversation) c,
		array_agg(('00000000-0000-0000-0000-0000000000' || split_part(r, ' ', 1))::uuid) p,
		array_agg(split_part(r, ' ', 2)::bigint) f,
		array_agg(split_part(r, ' ', 3)::bigint) l
		FROM unnest(receipts) r) a
	LEFT JOIN LATERAL openhr_msg.apply_receipts(c, p, f, l) place ON true
$$;
CREATE VIEW ticks AS
	SELECT m.seq, m.version, right(m.sender_profile_id::text, 2) AS by,
		m.delivered_at IS NOT NULL AS here, m.read_at IS NOT NULL AS read,
		m.updated_at IS NOT NULL AS updated, m.is_deleted
	FROM messages m WHERE conversation_id = '22222222-2222-2222-2222-222222222222'
	ORDER BY seq;
CREATE VIEW marks AS
	SELECT right(p.profile_id::text, 2) AS who, p.last_delivered_seq,
		p.last_read_seq
	FROM conversation_participants p
	WHERE conversation_id = '22222222-2222-2222-2222-222222222222'
	ORDER BY 1;
CREATE VIEW counters AS
	SELECT last_seq, last_version,
		updated_at = (SELECT max(m.created_at) FROM messages m
			WHERE m.conversation_id = c.id AND NOT is_edited) AS as_old_as_its_messages
	FROM conversations c WHERE id = '22222222-2222-2222-2222-222222222222';
GRANT SELECT ON ticks, marks, counters TO PUBLIC;
\set ECHO all

:as_ann
SELECT seq, delivered_at, read_at FROM openhr_msg.send_message(:'pair', 'one');
SELECT seq FROM openhr_msg.send_message(:'pair', 'two');
SELECT seq FROM openhr_msg.send_message(:'pair', 'three');
TABLE marks;

-- Some of it arrives at bob's.
:as_owner
SELECT arrives(:'pair', 'b2 1 2');
TABLE ticks;
TABLE marks;
TABLE counters;

-- Again, overlapping, out of order; and the sender's own.
SELECT delivered_at AS at FROM messages WHERE conversation_id = :'pair' AND seq = 1 \gset _
SELECT arrives(:'pair', 'b2 3 3', 'b2 1 2', 'a1 1 3');
SELECT arrives(:'pair', 'b2 1 1');
TABLE ticks;
TABLE marks;
TABLE counters;
SELECT delivered_at = :'_at' FROM messages WHERE conversation_id = :'pair' AND seq = 1;

-- Of who is no participant, of no conversation, and nothing at all.
SELECT arrives(:'pair', 'c3 1 3'), arrives(:'nobody', 'b2 1 3');
SELECT count(*) FROM openhr_msg.apply_receipts('{}', '{}', '{}', '{}');
SELECT count(*) FROM openhr_msg.apply_receipts(NULL, '{}', '{}', '{}');

-- bob reads: to a place, to the end, not back.
:as_bob
SELECT last_read_seq, last_delivered_seq FROM openhr_msg.mark_read(:'pair', 2);
TABLE ticks;
TABLE counters;
SELECT last_read_seq FROM openhr_msg.mark_read(:'pair', 1);
SELECT last_read_seq FROM openhr_msg.mark_read(:'pair', 2);
UPDATE conversation_participants SET last_read_seq = 100
WHERE conversation_id = :'pair' AND profile_id = :'bob' RETURNING last_read_seq;
TABLE ticks;
TABLE counters;

-- What was read has arrived; and who answers has read it.
:as_ann
SELECT id AS four FROM openhr_msg.send_message(:'pair', 'four') \gset _
SELECT seq, version FROM openhr_msg.send_message(:'pair', 'five');
SELECT is_deleted FROM openhr_msg.delete_message(:'_four');
:as_bob
SELECT seq, version FROM openhr_msg.send_message(:'pair', 'six');
TABLE ticks;
TABLE marks;
TABLE counters;
SELECT seq, version FROM openhr_msg.send_message(:'pair', 'seven');
TABLE counters;

-- Who was away sees the ticks as changes.
:as_ann
SELECT seq, version, read_at IS NOT NULL FROM openhr_msg.list_changes(:'pair', 12);

-- Nobody but the server moves them.
SELECT try(format('UPDATE conversation_participants SET last_delivered_seq = 7 WHERE conversation_id = %L', :'pair'));
SELECT try(format('UPDATE messages SET read_at = now() WHERE conversation_id = %L', :'pair'));
SELECT try(format('INSERT INTO conversation_participants (conversation_id, profile_id, last_delivered_seq) VALUES (%L, %L, 5)', :'group', :'eve'));
SELECT try('SELECT openhr_msg.apply_receipts(''{}'', ''{}'', ''{}'', ''{}'')');
:as_owner
GRANT UPDATE, INSERT ON conversation_participants TO authenticated;
:as_ann
UPDATE conversation_participants SET last_delivered_seq = 100, last_read_seq = 7
WHERE conversation_id = :'pair' AND profile_id = :'ann' RETURNING last_delivered_seq, last_read_seq;
UPDATE conversation_participants SET last_delivered_seq = 100
WHERE conversation_id = :'pair' AND profile_id = :'ann' RETURNING last_delivered_seq;
SELECT count(*) FROM openhr_msg.send_message(:'group', 'hello all');
INSERT INTO conversation_participants (conversation_id, profile_id, last_delivered_seq, last_read_seq)
VALUES (:'group', :'eve', 50, 50) RETURNING last_delivered_seq, last_read_seq;
:as_owner
REVOKE UPDATE, INSERT ON conversation_participants FROM authenticated;
GRANT INSERT (conversation_id, profile_id, role), UPDATE (role, is_muted, last_read_seq)
ON conversation_participants TO authenticated;

-- In a group there are markers and no ticks.
SELECT arrives(:'group', 'b2 1 1', 'c3 1 1');
:as_bob
SELECT last_read_seq FROM openhr_msg.mark_read(:'group');
SELECT count(*) FROM openhr_msg.send_message(:'group', 'well');
:as_owner
SELECT seq, version, delivered_at, read_at FROM messages WHERE conversation_id = :'group' ORDER BY seq;
SELECT right(profile_id::text, 2), last_delivered_seq, last_read_seq
FROM conversation_participants WHERE conversation_id = :'group' ORDER BY 1;

-- In one of more than 50 there are not even these.
INSERT INTO profiles (id) SELECT gen_random_uuid() FROM generate_series(1, 47);
INSERT INTO conversation_participants (conversation_id, profile_id)
SELECT :'group', id FROM profiles WHERE id NOT IN (:'ann', :'bob', :'cem', :'eve') LIMIT 46;
SELECT count(*) FROM conversation_participants WHERE conversation_id = :'group';
SELECT arrives(:'group', 'c3 2 2');
INSERT INTO conversation_participants (conversation_id, profile_id)
SELECT :'group', id FROM profiles WHERE id NOT IN
	(SELECT profile_id FROM conversation_participants WHERE conversation_id = :'group');
SELECT count(*) FROM openhr_msg.send_message(:'group', 'as a service');
SELECT arrives(:'group', 'c3 3 3');
SELECT last_delivered_seq FROM conversation_participants
WHERE conversation_id = :'group' AND profile_id = :'cem';

-- Only the months that a range lies in are opened.
SELECT count(*) > 0 FROM openhr_msg.create_partitions();
BEGIN;
SELECT arrives(:'pair', 'a1 6 7');
SELECT count(*) FROM pg_locks l JOIN pg_inherits i ON i.inhrelid = l.relation
WHERE i.inhparent = 'messages'::regclass AND l.pid = pg_backend_pid()
	AND l.mode = 'RowExclusiveLock';
SELECT seq, delivered_at IS NOT NULL FROM messages WHERE conversation_id = :'pair' AND seq > 5 ORDER BY seq;
ROLLBACK;

\set ECHO none
DROP VIEW ticks, marks, counters;
DROP FUNCTION arrives(uuid, text[]);
TRUNCATE conversations;
DELETE FROM profiles;
DROP FUNCTION answer, try, tell;
