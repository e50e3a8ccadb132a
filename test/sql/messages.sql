-- Messages, by the functions.
\set ECHO none
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir /sql/include/chat.psql
\i :helpers
SET openhr_msg.rate_limit = 0;
\pset format unaligned
\pset tuples_only on
\set ECHO all
:as_ann
SELECT id AS pair FROM openhr_msg.create_conversation(ARRAY[:'bob']::uuid[]) \gset _

-- What is sent, and what the server adds.
SELECT conversation_id = :'_pair', sender_profile_id = :'ann', content,
	content_type, metadata, seq, version, is_edited, is_deleted, updated_at,
	reply_to_message_id, client_message_id, created_at <= clock_timestamp(),
	id BETWEEN openhr_msg.uuid_v7_floor(created_at - interval '1 second')
	AND openhr_msg.uuid_v7_floor(created_at + interval '1 millisecond')
FROM openhr_msg.send_message(:'_pair', 'hello');
SELECT id AS question, content, content_type, metadata
FROM openhr_msg.send_message(:'_pair', 'look at this', 'attachment',
	metadata => '{"size": 10, "name": "a.png"}') \gset _
:as_bob
SELECT content, reply_to_message_id = :'_question', seq
FROM openhr_msg.send_message(conversation_id => :'_pair', content => 'nice',
	reply_to_message_id => :'_question');
SELECT content = '', content_type FROM openhr_msg.send_message(:'_pair', '',
	'attachment', metadata => '{"name": "b.png"}');

-- Text comes back as it was sent: nothing is trimmed, folded or escaped.
CREATE FUNCTION pg_temp.same(conversation uuid, content text) RETURNS boolean
LANGUAGE sql AS $$
	SELECT m.content = $2 AND octet_length(m.content) = octet_length($2)
	FROM openhr_msg.send_message($1, $2) m
$$;
SELECT pg_temp.same(:'_pair', t)
FROM unnest(ARRAY[E' two  spaces \n', E'e\u0301 and \u00e9', E'\u202eright to left',
	E'\U0001F468\u200D\U0001F469\u200D\U0001F467', E'<script>&amp;\\u0000\\n',
	E'line\u2028separator', E'\x01 control', '%s %n ${x} $1 ''"']) t;

-- The limit is in bytes, and exact.
SHOW openhr_msg.max_message_bytes;
SELECT pg_temp.same(:'_pair', repeat('x', 16384));
SELECT answer(format('SELECT openhr_msg.send_message(%L, repeat(''x'', 16385))', :'_pair'));
SELECT pg_temp.same(:'_pair', repeat(E'\u20ac', 5461));
SELECT answer(format('SELECT openhr_msg.send_message(%L, repeat(E''\u20ac'', 5462))', :'_pair'));

-- A retry gives the stored message, a different request is a conflict.
:as_ann
SELECT id AS first, seq AS seq FROM openhr_msg.send_message(:'_pair', 'once',
	metadata => '{"b": 1, "a": [2]}', client_message_id => 'key-1') \gset _
SELECT id = :'_first', seq = :_seq, content, client_message_id
FROM openhr_msg.send_message(:'_pair', 'once',
	metadata => '{"a":[2],"b":1}', client_message_id => 'key-1');
SELECT answer(format('SELECT openhr_msg.send_message(%L, %s)', :'_pair', more))
FROM unnest(ARRAY[
	$$'twice', metadata => '{"a":[2],"b":1}', client_message_id => 'key-1'$$,
	$$'once', client_message_id => 'key-1'$$,
	$$'once', 'attachment', metadata => '{"a":[2],"b":1}', client_message_id => 'key-1'$$]) more;
SELECT answer(format('SELECT openhr_msg.send_message(%L, ''once'', reply_to_message_id => %L, metadata => ''{"a":[2],"b":1}'', client_message_id => ''key-1'')', :'_pair', :'_question'));
SELECT last_seq = :_seq FROM openhr_msg.get_conversation(:'_pair');

-- A key is the sender's, and of the conversation.
:as_bob
SELECT seq = :_seq + 1 FROM openhr_msg.send_message(:'_pair', 'other', client_message_id => 'key-1');
-- A service has keys, too.
:as_service
SELECT seq - :_seq, sender_profile_id FROM openhr_msg.send_message(:'_pair', 'welcome', 'system', client_message_id => 'key-1');
SELECT seq - :_seq, sender_profile_id FROM openhr_msg.send_message(:'_pair', 'welcome', 'system', client_message_id => 'key-1');
-- What was rolled back was never sent.
:as_ann
BEGIN;
SELECT seq - :_seq FROM openhr_msg.send_message(:'_pair', 'lost', client_message_id => 'key-2');
ROLLBACK;
SELECT seq - :_seq, content FROM openhr_msg.send_message(:'_pair', 'found', client_message_id => 'key-2');
-- Neither a mute nor the rate limit is in the way of a retry; and it shows
-- the message as it is now.
:as_owner
UPDATE conversation_participants SET is_muted = true WHERE profile_id = :'ann';
SET openhr_msg.rate_limit = 1;
:as_ann
SELECT seq - :_seq, content FROM openhr_msg.send_message(:'_pair', 'found', client_message_id => 'key-2');
SELECT answer(format('SELECT openhr_msg.send_message(%L, ''more'')', :'_pair'));
SELECT answer(format('SELECT openhr_msg.edit_message(%L, ''more'')', :'_first'));
:as_owner
UPDATE conversation_participants SET is_muted = false WHERE profile_id = :'ann';
SET openhr_msg.rate_limit = 0;
:as_ann
SELECT seq - :_seq, content FROM openhr_msg.edit_message(:'_first', 'edited');
SELECT id = :'_first', seq - :_seq, content, is_edited
FROM openhr_msg.send_message(:'_pair', 'once',
	metadata => '{"a":[2],"b":1}', client_message_id => 'key-1');
-- But not to who is not in the conversation any more.
:as_owner
DELETE FROM conversation_participants WHERE profile_id = :'ann';
:as_ann
SELECT answer(format('SELECT openhr_msg.send_message(%L, ''found'', client_message_id => ''key-2'')', :'_pair'));
:as_owner
INSERT INTO conversation_participants (conversation_id, profile_id, last_read_seq)
SELECT id, :'ann', last_seq FROM conversations WHERE id = :'_pair';

-- Edit and delete: each change is one version; what changes nothing is none.
:as_ann
SELECT last_version AS version FROM openhr_msg.get_conversation(:'_pair') \gset _
SELECT id AS mine FROM openhr_msg.send_message(:'_pair', 'draft') \gset _
SELECT content, version - :_version, is_edited, updated_at > created_at
FROM openhr_msg.edit_message(:'_mine', 'final');
SELECT content, version - :_version FROM openhr_msg.edit_message(:'_mine', 'final');
SELECT content, metadata, version - :_version, is_edited, is_deleted
FROM openhr_msg.delete_message(:'_mine');
SELECT content, version - :_version, is_deleted FROM openhr_msg.delete_message(:'_mine');
SELECT answer(format('SELECT openhr_msg.edit_message(%L, ''again'')', :'_mine'));
SELECT answer(format('SELECT openhr_msg.edit_message(%L, ''final'')', :'_mine'));
-- In a group an admin deletes what others wrote, but does not edit it.
SELECT id AS team FROM openhr_msg.create_conversation(ARRAY[:'bob']::uuid[], 'The team', 'group') \gset _
:as_bob
SELECT id AS theirs FROM openhr_msg.send_message(:'_team', 'rude') \gset _
:as_ann
SELECT answer(format('SELECT openhr_msg.edit_message(%L, ''kind'')', :'_theirs'));
SELECT content, is_deleted FROM openhr_msg.delete_message(:'_theirs');
:as_service
SELECT content FROM openhr_msg.edit_message(:'_question', 'look again');

-- Changes: final states, tombstones too, in the order of their versions.
:as_bob
SELECT content, is_edited, is_deleted, version - :_version
FROM openhr_msg.list_changes(:'_pair', :_version);
SELECT count(*), min(version) - :_version FROM openhr_msg.list_changes(:'_pair', :_version, 1);
SELECT count(*) = count(DISTINCT seq), count(*) = max(seq)
FROM openhr_msg.list_changes(:'_pair', 0);
SELECT count(*) FROM openhr_msg.list_changes(:'_pair', 9223372036854775807);

-- Unread and the marker: forward only, never past the end, and no version,
-- time or row changes when it stays.
:as_ann
SELECT unread_count FROM openhr_msg.get_conversation(:'_team');
:as_bob
SELECT seq FROM generate_series(1, 4) n, openhr_msg.send_message(:'_team', n::text);
SELECT unread_count, last_read_seq FROM openhr_msg.get_conversation(:'_team');
:as_ann
SELECT last_read_seq FROM openhr_msg.mark_read(:'_team', 3);
SELECT last_read_at AS read_at FROM openhr_msg.get_conversation(:'_team') \gset _
SELECT xmin AS xmin FROM conversation_participants
WHERE conversation_id = :'_team' AND profile_id = :'ann' \gset _
SELECT last_read_seq, last_read_at = :'_read_at'
FROM unnest(ARRAY[0, 2, 3]) s, openhr_msg.mark_read(:'_team', s);
SELECT xmin = :'_xmin' FROM conversation_participants
WHERE conversation_id = :'_team' AND profile_id = :'ann';
SELECT last_read_seq FROM openhr_msg.mark_read(:'_team', 1000000);
SELECT last_read_seq, last_read_at > :'_read_at' FROM openhr_msg.mark_read(:'_team');
SELECT unread_count FROM openhr_msg.get_conversation(:'_team');

-- Unread agrees with counting, whatever happens.
SELECT setseed(0.5);
DO $$
DECLARE
	people text[] := ARRAY['a1', 'b2'];
	conversation uuid := (SELECT id FROM conversations WHERE type = 'group');
	wrong bigint;
BEGIN
	FOR n IN 1 .. 300 LOOP
		PERFORM set_config('request.jwt.claims', '{"role": "authenticated", "sub": "00000000-0000-0000-0000-0000000000'
			|| people[1 + (random() < 0.5)::int] || '"}', true);
		CASE floor(random() * 4)
			WHEN 0, 1 THEN
				PERFORM openhr_msg.send_message(conversation, 'n ' || n);
			WHEN 2 THEN
				PERFORM openhr_msg.mark_read(conversation, floor(random() * n)::bigint);
			ELSE
				PERFORM openhr_msg.delete_message(m.id)
				FROM openhr_msg.list_messages(conversation, 5) m
				WHERE m.sender_profile_id = openhr_msg.uid() LIMIT 1;
		END CASE;
		SELECT count(*) INTO wrong
		FROM openhr_msg.get_conversation(conversation) c
		WHERE c.unread_count IS DISTINCT FROM
			(SELECT count(*) FROM messages m
			 WHERE m.conversation_id = conversation AND m.seq > c.last_read_seq)
		OR c.last_seq IS DISTINCT FROM
			(SELECT max(seq) FROM messages m WHERE m.conversation_id = conversation)
		OR EXISTS (SELECT FROM messages m
				   WHERE m.conversation_id = conversation
				   AND m.sender_profile_id = openhr_msg.uid()
				   AND m.seq > c.last_read_seq);
		ASSERT wrong = 0, 'wrong after ' || n;
	END LOOP;
END
$$;

\set ECHO none
:as_owner
TRUNCATE conversations;
DELETE FROM profiles;
DROP FUNCTION answer;
