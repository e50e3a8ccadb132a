-- Every refusal of the functions for conversations and messages, with its
-- SQLSTATE, to everybody who may meet it.
\set ECHO none
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir /sql/include/chat.psql
\i :helpers
SET openhr_msg.rate_limit = 0;
\pset format unaligned
\pset tuples_only on

:as_ann
SELECT id AS pair FROM openhr_msg.create_conversation(ARRAY[:'bob']::uuid[]) \gset
SELECT id AS message FROM openhr_msg.send_message(:'pair', 'hello') \gset
SELECT id AS other FROM openhr_msg.create_conversation(ARRAY[:'cem']::uuid[]) \gset
SELECT id AS elsewhere FROM openhr_msg.send_message(:'other', 'hello') \gset
:as_owner

-- Calls, with names in place of ids.
CREATE TABLE calls (number serial, call text);
GRANT SELECT ON calls TO PUBLIC;
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN answer('SELECT openhr_msg.' || call);
END
$$;
CREATE TABLE names AS
SELECT * FROM (VALUES
	('$pair', :'pair'), ('$message', :'message'),
	('$elsewhere', :'elsewhere'), ('$nothing', :'nobody'),
	('$ann', :'ann'), ('$bob', :'bob'), ('$cem', :'cem'), ('$eve', :'eve'))
	AS n (name, id);
GRANT SELECT ON names TO PUBLIC;
CREATE FUNCTION fill(call text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	n record;
BEGIN
	FOR n IN SELECT * FROM names LOOP
		call := replace(call, n.name, quote_literal(n.id));
	END LOOP;
	RETURN call;
END
$$;

-- One good call of each function, to be tried by everybody.
INSERT INTO calls (call) VALUES
	('create_conversation(ARRAY[$cem]::uuid[])'),
	('list_conversations()'),
	('get_conversation($pair)'),
	('archive_conversation($pair, false)'),
	('add_participant($pair, $eve)'),
	('remove_participant($pair, $nothing)'),
	('send_message($pair, ''hi'')'),
	('list_messages($pair)'),
	('list_changes($pair, 0)'),
	('edit_message($message, ''hello!'')'),
	('delete_message($message)'),
	('mark_read($pair)');
\set ECHO all

-- Nobody: not authenticated at all, and authenticated without a profile.
\set try_all 'SELECT call, try(fill(call)) FROM calls ORDER BY number;'
:as_anon
:try_all
:as_no_one
:try_all

-- A stranger cannot tell whether there is such a conversation or message.
:as_eve
:try_all
SELECT call, try(replace(replace(fill(call), :'pair', :'nobody'), :'message', :'nobody'))
FROM calls WHERE call ~ 'pair|message' ORDER BY number;

-- A member, of what is not his to change.
:as_bob
SELECT call, try(fill(call)) FROM unnest(ARRAY[
	'edit_message($message, ''mine'')',
	'delete_message($message)',
	'edit_message($elsewhere, ''mine'')',
	'delete_message($elsewhere)',
	'add_participant($pair, $eve)',
	'remove_participant($pair, $ann)']) call;

-- A service, of what is not there; and it has no marker.
:as_service
SELECT call, try(fill(call)) FROM unnest(ARRAY[
	'get_conversation($nothing)',
	'archive_conversation($nothing)',
	'add_participant($nothing, $eve)',
	'remove_participant($nothing, $eve)',
	'send_message($nothing, ''hi'')',
	'list_messages($nothing)',
	'list_changes($nothing, 0)',
	'edit_message($nothing, ''hi'')',
	'delete_message($nothing)',
	'mark_read($pair)',
	'add_participant($pair, $eve)',
	'add_participant($pair, $nothing)']) call;

-- Arguments, as somebody who may.
:as_ann
SELECT call, try(fill(call)) FROM unnest(ARRAY[
	'create_conversation(NULL)',
	'create_conversation(''{}'')',
	'create_conversation(ARRAY[$ann]::uuid[])',
	'create_conversation(ARRAY[$bob, $cem]::uuid[])',
	'create_conversation(ARRAY[$bob, NULL]::uuid[])',
	'create_conversation(ARRAY[ARRAY[$bob]]::uuid[])',
	'create_conversation(ARRAY[$nothing]::uuid[])',
	'create_conversation(array_fill($bob::uuid, ARRAY[1001]), type => ''group'')',
	'create_conversation(ARRAY[$bob]::uuid[], type => ''crowd'')',
	'create_conversation(ARRAY[$bob]::uuid[], type => ''system'')',
	'create_conversation(ARRAY[$bob]::uuid[], type => NULL)',
	'create_conversation(ARRAY[$bob]::uuid[], '''')',
	'create_conversation(ARRAY[$bob]::uuid[], repeat(''x'', 256))',
	'create_conversation(ARRAY[$bob]::uuid[], repeat(''x'', 257))',
	'create_conversation(ARRAY[$bob]::uuid[], match_id => $nothing)',
	'list_conversations(0)',
	'list_conversations(101)',
	'list_conversations(NULL)',
	'get_conversation(NULL)',
	'archive_conversation(NULL)',
	'archive_conversation($pair, NULL)',
	'add_participant(NULL, $eve)',
	'add_participant($pair, NULL)',
	'add_participant($pair, $eve, ''owner'')',
	'remove_participant(NULL, $eve)',
	'remove_participant($pair, NULL)']) call;
SELECT call, try(fill(call)) FROM unnest(ARRAY[
	'send_message(NULL, ''hi'')',
	'send_message($pair, NULL)',
	'send_message($pair, '''')',
	'send_message($pair, E'' \t\n'')',
	'send_message($pair, E''\u00a0\u2003\u200b\u3000\ufeff'')',
	'send_message($pair, '''', ''attachment'')',
	'send_message($pair, ''hi'', NULL)',
	'send_message($pair, ''hi'', '''')',
	'send_message($pair, ''hi'', ''html'')',
	'send_message($pair, ''hi'', ''system'')',
	'send_message($pair, ''hi'', ''suggested'')',
	'send_message($pair, ''hi'', reply_to_message_id => $nothing)',
	'send_message($pair, ''hi'', reply_to_message_id => $elsewhere)',
	'send_message($pair, ''hi'', metadata => ''null'')',
	'send_message($pair, ''hi'', metadata => ''[1]'')',
	'send_message($pair, ''hi'', metadata => ''"x"'')',
	'send_message($pair, ''hi'', metadata => ''{}'')',
	'send_message($pair, ''hi'', metadata => format(''{"a": "%s"}'', repeat(''x'', 16375))::jsonb)',
	'send_message($pair, ''hi'', metadata => format(''{"a": "%s"}'', repeat(''x'', 16376))::jsonb)',
	'send_message($pair, ''hi'', metadata => (repeat(''{"a": '', 16) || 1 || repeat(''}'', 16))::jsonb)',
	'send_message($pair, ''hi'', metadata => (repeat(''{"a": '', 17) || 1 || repeat(''}'', 17))::jsonb)',
	'send_message($pair, ''hi'', metadata => (''{"a": '' || repeat(''['', 16) || repeat('']'', 16) || ''}'')::jsonb)',
	'send_message($pair, ''hi'', client_message_id => '''')',
	'send_message($pair, ''hi'', client_message_id => ''a b'')',
	'send_message($pair, ''hi'', client_message_id => E''a\n'')',
	'send_message($pair, ''hi'', client_message_id => E''\u00e9'')',
	'send_message($pair, ''hi'', client_message_id => repeat(''x'', 64))',
	'send_message($pair, ''hi'', client_message_id => repeat(''x'', 65))']) call;
SELECT call, try(fill(call)) FROM unnest(ARRAY[
	'list_messages(NULL)',
	'list_messages($pair, 0)',
	'list_messages($pair, -1)',
	'list_messages($pair, 100)',
	'list_messages($pair, 101)',
	'list_messages($pair, NULL)',
	'list_messages($pair, before_seq => -1)',
	'list_messages($pair, before_seq => 0)',
	'list_messages($pair, after_seq => -1)',
	'list_messages($pair, before_seq => 1, after_seq => 1)',
	'list_messages($pair, before => now(), after_seq => 1)',
	'list_messages($pair, before => now(), before_seq => 1)',
	'list_messages($pair, before => ''-infinity'')',
	'list_changes($pair, NULL)',
	'list_changes($pair, -1)',
	'list_changes($pair, 0, 101)',
	'list_changes(NULL, 0)',
	'edit_message(NULL, ''hi'')',
	'edit_message($message, NULL)',
	'edit_message($message, '' '')',
	'edit_message($message, repeat(''x'', 16385))',
	'delete_message(NULL)',
	'mark_read(NULL)',
	'mark_read($pair, -1)']) call;

-- What cannot be text never comes here.
SELECT answer($$SELECT openhr_msg.send_message('$$ || :'pair' || $$', E'a\u0000b')$$);
SELECT answer($$SELECT openhr_msg.send_message('$$ || :'pair' || $$', convert_from('\xc328', 'UTF8'))$$);
SELECT answer($$SELECT openhr_msg.send_message('$$ || :'pair' || $$', 'x', metadata => '{"a": "\u0000"}')$$);
SELECT answer($$SELECT openhr_msg.send_message('$$ || :'pair' || $$', 'x', metadata => '{"a": "\ud83d"}')$$);

-- The rate limit: any window holds as many as it says, to the microsecond.
:as_owner
SET openhr_msg.rate_limit = 3;
CREATE FUNCTION pushed(before text, at text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	sent_at timestamptz[];
	more text;
BEGIN
	SELECT array_agg('2026-01-01 12:00 UTC'::timestamptz + t::interval)
	INTO sent_at FROM unnest(before::text[]) t;
	sent_at := openhr_msg.push_sent_at(coalesce(sent_at, '{}'),
		'2026-01-01 12:00 UTC'::timestamptz + at::interval);
	RETURN (SELECT array_agg(extract(epoch FROM t - '2026-01-01 12:00 UTC') ORDER BY n)
			FROM unnest(sent_at) WITH ORDINALITY u (t, n));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS more = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ' ' || SQLERRM || ': ' || more;
END
$$;
SELECT before, at, pushed(before, at) FROM (VALUES
	('{}', '0s'),
	('{0s}', '1s'),
	('{0s, 1s}', '1s'),
	('{0s, 1s, 1s}', '59.999999s'),
	('{0s, 1s, 1s}', '60s'),
	('{0s, 1s, 1s}', '30s'),
	('{0s, 1s, 1s}', '60.999999s'),
	('{0s, 1s, 1s}', '59.000001s'),
	('{0s, 1s, 2s, 3s, 4s}', '10s'),
	('{0s, 1s, 2s}', '1h'),
	('{10s, 11s, 12s}', '5s')) v (before, at);
:as_ann
SELECT n, regexp_replace(try(fill('send_message($pair, ''hi'')')), '\d+ sec', 'N sec')
FROM generate_series(1, 5) n;
:as_bob
SELECT try(fill('send_message($pair, ''hi'')'));
-- What is refused or rolled back does not count, a direct INSERT does.
:as_owner
DELETE FROM openhr_msg.send_log;
:as_ann
SELECT n, left(try(fill('send_message($pair, ''hi'', ''html'')')), 5)
FROM generate_series(1, 5) n;
BEGIN;
SELECT count(openhr_msg.send_message(:'pair', 'hi')) FROM generate_series(1, 3) n;
ROLLBACK;
INSERT INTO messages (conversation_id, sender_profile_id, content)
SELECT :'pair', :'ann', 'hi' FROM generate_series(1, 2) n;
SELECT n, left(try(fill('send_message($pair, ''hi'')')), 5) FROM generate_series(1, 2) n;
SELECT left(answer(format('INSERT INTO messages (conversation_id, content) VALUES (%L, ''hi'')', :'pair')), 5);
-- No limit, and none for services.
:as_service
SELECT count(openhr_msg.send_message(:'pair', 'hi')) FROM generate_series(1, 5) n;
:as_owner
SET openhr_msg.rate_limit = 0;
:as_ann
SELECT count(openhr_msg.send_message(:'pair', 'hi')) FROM generate_series(1, 5) n;

\set ECHO none
:as_owner
TRUNCATE conversations;
DELETE FROM profiles;
DROP TABLE calls, names;
DROP FUNCTION answer, try, fill, pushed;
