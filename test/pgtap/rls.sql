-- Who sees what, as a developer would test it.

BEGIN;
\ir people.psql
SELECT no_plan();

SELECT pg_temp.become(:ann);
SELECT id AS talk FROM openhr_msg.create_conversation(ARRAY[:bob]::uuid[])
\gset
SELECT id AS message FROM openhr_msg.send_message(:'talk', 'hello') \gset

SELECT results_eq('SELECT content FROM messages', ARRAY['hello'],
	'the sender sees the message');

SELECT pg_temp.become(:bob);
SELECT results_eq('SELECT content FROM messages', ARRAY['hello'],
	'the other participant sees it');
SELECT results_eq('SELECT count(*) FROM conversation_participants',
	ARRAY[2::bigint], 'and who takes part');
SELECT is(auth.uid(), :bob::uuid, 'auth.uid() is the profile');

SELECT pg_temp.become(:eve);
SELECT is_empty('SELECT * FROM messages', 'a stranger sees no message');
SELECT is_empty('SELECT * FROM conversations', 'no conversation');
SELECT is_empty('SELECT * FROM conversation_participants',
	'and no participant');

SELECT pg_temp.become_nobody();
SELECT throws_ok('SELECT * FROM messages', '42501', NULL,
	'anon may not even look');

SELECT pg_temp.become_service();
SELECT results_eq('SELECT content FROM messages', ARRAY['hello'],
	'a service sees everything');

RESET ROLE;
DELETE FROM conversation_participants WHERE profile_id = :bob;
SELECT pg_temp.become(:bob);
SELECT is_empty('SELECT * FROM messages', 'who was removed sees nothing');

SELECT pg_temp.become(:ann);
SELECT throws_ok('SELECT * FROM openhr_msg.messages_default', '42501', NULL,
	'a partition cannot be read past the parent');
SELECT throws_ok('SELECT * FROM openhr_msg.client_messages', '42501', NULL,
	'nor the keys of other clients');

SELECT * FROM finish();
ROLLBACK;
