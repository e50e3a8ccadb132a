-- openhr_msg.broadcast(): who may speak where, and what is kept of it.
BEGIN;
SELECT no_plan();
\ir people.psql

SELECT pg_temp.become(:ann);
SELECT id AS talk FROM openhr_msg.create_conversation(ARRAY[:bob]::uuid[], NULL, 'group') \gset
RESET ROLE;
CREATE FUNCTION pg_temp.kept(OUT conversation_id uuid, OUT topic text, OUT event text, OUT payload jsonb) RETURNS SETOF record
LANGUAGE sql SECURITY DEFINER AS 'SELECT conversation_id, topic, event, payload FROM openhr_msg.broadcasts ORDER BY id';

SELECT pg_temp.become(:ann);
SELECT isnt(openhr_msg.broadcast('room:' || :'talk', 'wave', '{"hand": "left"}'), NULL, 'a participant broadcasts');
SELECT results_eq('SELECT * FROM pg_temp.kept()',
	format($$VALUES (%L::uuid, 'room:%1$s', 'wave', '{"hand": "left"}'::jsonb)$$, :'talk'), '... which is kept');
SELECT isnt(openhr_msg.broadcast('typing:' || upper(:'talk'), 'x'), NULL, 'the payload may be left out, and the id be in upper case');
SELECT throws_ok('SELECT FROM openhr_msg.broadcasts', '42501', NULL, 'what others said cannot be read there');
SELECT throws_ok('INSERT INTO openhr_msg.broadcasts (topic, event, payload) VALUES (''a'', ''b'', ''{}'')', '42501', NULL,
	'nor can anything be written past the function');

SELECT pg_temp.become(:eve);
SELECT throws_ok(format('SELECT openhr_msg.broadcast(%L, ''wave'')', 'room:' || :'talk'),
	'42501', 'not a participant of the conversation', 'others do not');
SELECT throws_ok(format('SELECT openhr_msg.broadcast(%L, ''wave'')', 'room:' || gen_random_uuid()),
	'42501', 'not a participant of the conversation', 'a conversation that does not exist looks the same');
SELECT throws_ok($$SELECT openhr_msg.broadcast('lobby', 'wave')$$,
	'42501', 'topic belongs to no conversation', 'other topics are not open to users');
SELECT throws_ok(format('SELECT openhr_msg.broadcast(%L, ''wave'')', topic),
	'42501', 'topic belongs to no conversation', 'no way around: ' || what)
FROM (VALUES ('a longer name', 'chat:room:' || :'talk'), ('no word', ':' || :'talk'), ('a space', 'room: ' || :'talk'),
	('no hyphens', 'room:' || replace(:'talk', '-', ''))) AS t(what, topic);

SELECT pg_temp.become_nobody();
SELECT throws_ok($$SELECT openhr_msg.broadcast('lobby', 'wave')$$, '42501', NULL, 'anonymous callers have no function');

SELECT pg_temp.become_service();
SELECT isnt(openhr_msg.broadcast('lobby', 'news', '{}'), NULL, 'a service broadcasts anywhere');
SELECT isnt(openhr_msg.broadcast('room:' || :'talk', 'news', '{}'), NULL, '... to conversations, too');
SELECT throws_ok(format('SELECT openhr_msg.broadcast(%L, ''wave'')', 'room:' || gen_random_uuid()),
	'PT404', 'conversation does not exist', '... that exist');

SELECT throws_ok(format('SELECT openhr_msg.broadcast(%L, %L, %L)', topic, event, payload), '22023', message, message || ': ' || what)
FROM (VALUES
	('empty', '', 'e', '{}', 'invalid topic of a broadcast'),
	('too long', repeat('t', 247), 'e', '{}', 'invalid topic of a broadcast'),
	('empty', 't', '', '{}', 'invalid event of a broadcast'),
	('too long', 't', repeat('e', 256), '{}', 'invalid event of a broadcast'),
	('an array', 't', 'e', '[]', 'payload must be a JSON object'),
	('a string', 't', 'e', '"x"', 'payload must be a JSON object')) AS t(what, topic, event, payload, message);
SELECT lives_ok(format('SELECT openhr_msg.broadcast(%L, %L)', repeat('t', 246), repeat('e', 255)), 'names may be as long as a frame can tell');
SELECT throws_ok(format('SELECT openhr_msg.broadcast(%s)', arguments), '22004', NULL, 'null: ' || arguments)
FROM unnest(ARRAY['NULL, ''e''', '''t'', NULL', '''t'', ''e'', NULL']) AS arguments;
SELECT throws_ok(format('SELECT openhr_msg.broadcast(''t'', ''e'', %L)', '{"a": "' || repeat('x', 16384) || '"}'),
	'22001', 'payload is too long', 'a payload is no longer than a message');

-- A removal and a broadcast of the removed wait for each other; see the specs
-- of messages, whose lock it is.
SELECT pg_temp.become(:ann);
SELECT openhr_msg.remove_participant(:'talk', :bob);
SELECT pg_temp.become(:bob);
SELECT throws_ok(format('SELECT openhr_msg.broadcast(%L, ''wave'')', 'room:' || :'talk'),
	'42501', 'not a participant of the conversation', 'who was removed speaks no more');

SELECT pg_temp.become_service();
DELETE FROM conversations WHERE id = :'talk';
SELECT is_empty('SELECT * FROM pg_temp.kept() WHERE conversation_id IS NOT NULL', 'broadcasts go with their conversation');

SELECT * FROM finish();
ROLLBACK;
