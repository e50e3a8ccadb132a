-- A conversation from its beginning to its end, by functions.

BEGIN;
\ir people.psql
SELECT no_plan();

SELECT pg_temp.become(:ann);
SELECT id AS talk FROM openhr_msg.create_conversation(ARRAY[:bob]::uuid[],
	title => 'Founders', type => 'group') \gset

SELECT results_eq(format(
	'SELECT profile_id, role FROM conversation_participants
	WHERE conversation_id = %L ORDER BY 1', :'talk'),
	format('VALUES (%L::uuid, %L), (%L::uuid, %L)', :ann, 'admin', :bob,
		   'member'),
	'who opens a group is its admin');

SELECT id AS first FROM openhr_msg.send_message(:'talk', 'one',
	client_message_id => 'key-1') \gset
SELECT is((openhr_msg.send_message(:'talk', 'one',
	client_message_id => 'key-1')).id, :'first'::uuid,
	'sending again returns the stored message');
SELECT is((openhr_msg.send_message(:'talk', 'two')).seq, 2::bigint,
	'and takes no place in the order');

SELECT pg_temp.become(:bob);
SELECT is((openhr_msg.send_message(:'talk', 'three',
	reply_to_message_id => :'first')).reply_to_message_id, :'first'::uuid,
	'a reply names what it answers');
SELECT is(unread_count, 0::bigint, 'who answers has read what was there')
FROM openhr_msg.get_conversation(:'talk');

SELECT pg_temp.become(:ann);
SELECT is(unread_count, 1::bigint, 'the other one has one message to read')
FROM openhr_msg.get_conversation(:'talk');
SELECT lives_ok(format('SELECT openhr_msg.mark_read(%L)', :'talk'));
SELECT is(unread_count, 0::bigint, 'and then none')
FROM openhr_msg.get_conversation(:'talk');

SELECT is((openhr_msg.edit_message(:'first', 'uno')).is_edited, true,
	'an edited message says so');
SELECT is((openhr_msg.delete_message(:'first')).content, '',
	'a deleted one keeps its place and not its content');

SELECT results_eq(
	format('SELECT seq, content FROM openhr_msg.list_messages(%L)', :'talk'),
	$$VALUES (3::bigint, 'three'), (2, 'two'), (1, '')$$,
	'a page is newest first, with tombstones');
SELECT results_eq(
	format('SELECT seq FROM openhr_msg.list_messages(%L, max => 1,
		before_seq => 3)', :'talk'), ARRAY[2::bigint], 'the page before');
SELECT results_eq(
	format('SELECT seq FROM openhr_msg.list_messages(%L, after_seq => 1)',
		   :'talk'), ARRAY[2::bigint, 3], 'what came after');
SELECT results_eq(
	format('SELECT seq, version FROM openhr_msg.list_changes(%L, 3)',
		   :'talk'), 'VALUES (1::bigint, 5::bigint)',
	'changes are final states in the order of version');
SELECT results_eq(
	format('SELECT version FROM openhr_msg.list_changes(%L, 3,
		epoch => openhr_msg.epoch())', :'talk'), ARRAY[5::bigint],
	'... in the present epoch');
SELECT throws_ok(format('SELECT openhr_msg.list_changes(%L, %s,
		epoch => %L)', :'talk', version, epoch), 'PT410',
	'position is from another epoch', 'no other epoch: ' || epoch)
FROM (VALUES (3, ''), (3, 'x'), (999, openhr_msg.epoch() || ' ')) AS t(version, epoch);
SELECT matches(openhr_msg.epoch(), '^[0-9a-f]{16}$', 'an epoch tells nothing else');

SELECT lives_ok(format('SELECT openhr_msg.add_participant(%L, %L)', :'talk',
	:eve), 'an admin adds somebody');
SELECT is(openhr_msg.remove_participant(:'talk', :bob), true,
	'and removes somebody');
SELECT is((openhr_msg.archive_conversation(:'talk')).is_archived, true,
	'and puts the conversation away');
SELECT is_empty('SELECT * FROM openhr_msg.list_conversations()',
	'an archived conversation is not listed');
SELECT isnt_empty('SELECT * FROM openhr_msg.list_conversations(
	include_archived => true)', 'unless asked for');

SELECT is(openhr_msg.remove_participant(:'talk', :ann), true,
	'the admin leaves');
RESET ROLE;
SELECT results_eq(format('SELECT profile_id, role
	FROM conversation_participants WHERE conversation_id = %L', :'talk'),
	format('VALUES (%L::uuid, %L)', :eve, 'admin'), 'and another takes over');

SELECT * FROM finish();
ROLLBACK;
