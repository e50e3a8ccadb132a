-- Who sees which rows, and who may write what: each role, each table.
BEGIN;
SELECT no_plan();

\set ana '''a0000000-0000-4000-8000-00000000000a'''
\set ben '''a0000000-0000-4000-8000-00000000000b'''
\set eva '''a0000000-0000-4000-8000-00000000000e'''

-- What a role does is judged by pgTAP, which keeps its notes in tables.
CREATE FUNCTION become(profile text, role text DEFAULT 'authenticated') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('request.jwt.claims',
		CASE WHEN profile IS NULL THEN '' ELSE json_build_object('sub', profile, 'role', role)::text END, true);
	PERFORM set_config('role', role, true);
END
$$;

-- The rows that somebody sees, as "table count".
CREATE FUNCTION seen_by(profile text, role text DEFAULT 'authenticated') RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
	seen text[];
BEGIN
	PERFORM become(profile, role);
	SELECT array_agg(line ORDER BY line) INTO seen FROM (
		SELECT 'conversations ' || count(*) FROM conversations
		UNION ALL SELECT 'messages ' || count(*) FROM messages
		UNION ALL SELECT 'participants ' || count(*) FROM conversation_participants) AS lines (line);
	PERFORM set_config('role', 'none', true);
	RETURN QUERY SELECT unnest(seen);
END
$$;

-- What somebody is told who tries: the SQLSTATE, or "done".
CREATE FUNCTION told(profile text, command text, role text DEFAULT 'authenticated') RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		PERFORM become(profile, role);
		EXECUTE command;
		PERFORM set_config('role', 'none', true);
		RETURN 'done';
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END;
END
$$;

INSERT INTO profiles (id) VALUES (:ana), (:ben), (:eva);
SELECT become(:ana) \g /dev/null
SELECT id AS talk FROM openhr_msg.create_conversation(ARRAY[:ben]::uuid[]) \gset
SELECT id AS message FROM openhr_msg.send_message(:'talk', 'hello') \gset
SELECT become(:eva) \g /dev/null
SELECT id AS hers FROM openhr_msg.create_conversation(ARRAY[:eva]::uuid[], type => 'group') \gset
SELECT id AS note FROM openhr_msg.send_message(:'hers', 'a note') \gset
SET LOCAL ROLE NONE;

SELECT set_eq(format('SELECT seen_by(%L)', :ana),
	ARRAY['conversations 1', 'messages 1', 'participants 2'], 'a member sees the conversation');
SELECT set_eq(format('SELECT seen_by(%L)', :ben),
	ARRAY['conversations 1', 'messages 1', 'participants 2'], 'so does the other one');
SELECT set_eq(format('SELECT seen_by(%L)', :eva),
	ARRAY['conversations 1', 'messages 1', 'participants 1'], 'a stranger sees only the own one');
SELECT set_eq('SELECT seen_by(NULL)',
	ARRAY['conversations 0', 'messages 0', 'participants 0'], 'without a profile there is nothing');
SELECT set_eq($$SELECT seen_by(NULL, 'service_role')$$,
	ARRAY['conversations 2', 'messages 2', 'participants 3'], 'a service sees everything');
SELECT is(told(NULL, 'SELECT FROM messages', 'anon'), '42501', 'nobody in particular may not look');

-- Not by the partitions and the side tables either.
SELECT is(told(:ana, format('SELECT FROM %s', relation::regclass)), '42501', relation || ' is nobody''s')
FROM (SELECT inhrelid::regclass::text AS relation FROM pg_inherits WHERE inhparent = 'messages'::regclass
	UNION SELECT unnest(ARRAY['openhr_msg.client_messages', 'openhr_msg.send_log'])) AS hidden
ORDER BY relation;

-- Writing into what is not one's own.
SELECT is(told(:eva, format($$INSERT INTO messages (conversation_id, sender_profile_id, content)
	VALUES (%L, %L, 'x')$$, :'talk', :eva)), '42501', 'a stranger cannot send');
SELECT is(told(:ben, format($$INSERT INTO messages (conversation_id, sender_profile_id, content)
	VALUES (%L, %L, 'x')$$, :'talk', :ana)), '42501', 'a member cannot send as another one');
SELECT is(told(:ben, format($$INSERT INTO messages (conversation_id, sender_profile_id, content)
	VALUES (%L, %L, 'x')$$, :'talk', :ben)), 'done', 'a member can send by INSERT');
SELECT is(told(:ben, format($$INSERT INTO messages (conversation_id, sender_profile_id, content, seq)
	VALUES (%L, %L, 'x', 99)$$, :'talk', :ben)), '42501', 'but not choose its place');
SELECT is(told(:ana, format('DELETE FROM messages WHERE id = %L', :'message')), '42501',
	'no client removes a row');
SELECT is(told(:eva, format($$INSERT INTO conversation_participants (conversation_id, profile_id)
	VALUES (%L, %L)$$, :'talk', :eva)), '42501', 'a stranger cannot let himself in');
SELECT is(told(:eva, format('SELECT openhr_msg.get_conversation(%L)', :'talk')), 'PT404',
	'what one may not see does not exist');
SELECT is(told(:eva, format($$SELECT openhr_msg.send_message(%L, 'x')$$, :'talk')), '42501',
	'not by the function either');
SELECT is(told(:ben, format($$SELECT openhr_msg.edit_message(%L, 'x')$$, :'message')), '42501',
	'what another one wrote stays as it is');

-- An UPDATE by somebody who does not see the row finds none.
SELECT told(:eva, format($$UPDATE messages SET content = 'x' WHERE id = %L$$, :'message')) \g /dev/null
SELECT is(content, 'hello', 'a stranger''s UPDATE changes nothing')
FROM messages WHERE id = :'message';

-- Removed: nothing is left to see, at once.
SELECT openhr_msg.remove_participant(:'talk', :ben) \g /dev/null
SELECT set_eq(format('SELECT seen_by(%L)', :ben),
	ARRAY['conversations 0', 'messages 0', 'participants 0'], 'who has left sees nothing more');

SELECT * FROM finish();
ROLLBACK;
