-- Refusals, each with its SQLSTATE, by function and by direct DML.

BEGIN;
\ir people.psql
SELECT no_plan();

SELECT pg_temp.become(:ann);
SELECT id AS talk FROM openhr_msg.create_conversation(ARRAY[:bob]::uuid[])
\gset
SELECT id AS message FROM openhr_msg.send_message(:'talk', 'hello',
	client_message_id => 'key') \gset

CREATE FUNCTION pg_temp.fails(statement text, code text, why text)
RETURNS text LANGUAGE sql AS $$
	SELECT throws_ok(statement, code, NULL, why)
$$;

SELECT pg_temp.fails(format('SELECT openhr_msg.send_message(%L, %L)', :'talk',
	' '), '22023', 'blank content');
SELECT pg_temp.fails(format('SELECT openhr_msg.send_message(%L, NULL)',
	:'talk'), '22004', 'no content');
SELECT pg_temp.fails(format('SELECT openhr_msg.send_message(%L, %L)', :'talk',
	repeat('x', 16385)), '22001', 'too much content');
SELECT pg_temp.fails(format('SELECT openhr_msg.send_message(%L, %L, %L)',
	:'talk', 'x', 'song'), '22023', 'a content type that there is not');
SELECT pg_temp.fails(format('SELECT openhr_msg.send_message(%L, %L, %L)',
	:'talk', 'x', 'system'), '42501', 'a content type for services');
SELECT pg_temp.fails(format(
	'SELECT openhr_msg.send_message(%L, %L, metadata => %L)', :'talk', 'x',
	'[]'), '22023', 'metadata that is no object');
SELECT pg_temp.fails(format(
	'SELECT openhr_msg.send_message(%L, %L, reply_to_message_id => %L)',
	:'talk', 'x', :'talk'), '23503', 'a reply to nothing');
SELECT pg_temp.fails(format(
	'SELECT openhr_msg.send_message(%L, %L, client_message_id => %L)',
	:'talk', 'other', 'key'), 'PT409', 'a key used for something else');
SELECT pg_temp.fails(format('SELECT openhr_msg.list_messages(%L, 101)',
	:'talk'), '22023', 'a page that is too long');
SELECT pg_temp.fails(format('SELECT openhr_msg.add_participant(%L, %L)',
	:'talk', :eve), 'PT409', 'a third in a one-to-one conversation');

SELECT pg_temp.fails(format(
	'INSERT INTO messages (conversation_id, content, sender_profile_id)
	VALUES (%L, %L, %L)', :'talk', 'x', :bob), '42501', 'another sender');
SELECT pg_temp.fails(format(
	'INSERT INTO messages (conversation_id, content, seq)
	VALUES (%L, %L, 7)', :'talk', 'x'), '42501', 'a place of one''s own');
SELECT pg_temp.fails('UPDATE messages SET seq = 7', '42501',
	'another place');
SELECT pg_temp.fails('DELETE FROM messages', '42501', 'a message is deleted by a tombstone');
SELECT pg_temp.fails('UPDATE conversations SET last_seq = 7', '42501',
	'the counters are the server''s');

SELECT pg_temp.become(:bob);
SELECT pg_temp.fails(format('SELECT openhr_msg.edit_message(%L, %L)',
	:'message', 'x'), '42501', 'the message of somebody else');

SELECT pg_temp.become(:eve);
SELECT pg_temp.fails(format('SELECT openhr_msg.send_message(%L, %L)', :'talk',
	'x'), '42501', 'a stranger cannot send');
SELECT pg_temp.fails(format('SELECT openhr_msg.list_messages(%L)', :'talk'),
	'42501', 'nor read');
SELECT pg_temp.fails(format('SELECT openhr_msg.delete_message(%L)',
	:'message'), 'PT404', 'nor learn that a message exists');

SELECT pg_temp.become_nobody();
SELECT pg_temp.fails(format('SELECT openhr_msg.send_message(%L, %L)', :'talk',
	'x'), '42501', 'anon may not call');

RESET ROLE;
SELECT set_config('request.jwt.claims', '', true);
SET LOCAL ROLE authenticated;
SELECT pg_temp.fails(format('SELECT openhr_msg.send_message(%L, %L)', :'talk',
	'x'), '28000', 'without an identity there is nobody to send');

SELECT * FROM finish();
ROLLBACK;
