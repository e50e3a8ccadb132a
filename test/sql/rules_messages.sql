-- What a profile may write to messages by SQL of its own.
\set ECHO none
\getenv srcdir PG_ABS_SRCDIR
\set rules :srcdir /sql/include/rules.psql
\i :rules
\set ECHO all

-- Who may send.
:as_ann
INSERT INTO messages (conversation_id, sender_profile_id, content)
VALUES (:'group', :'ann', 'hello') RETURNING tell(messages);
INSERT INTO messages (conversation_id, content)
VALUES (:'group', 'from whom? from me') RETURNING tell(messages);
SELECT try(format('INSERT INTO messages (conversation_id, sender_profile_id, content) VALUES (%L, %L, ''SECRET'')', :'group', :'bob'));
SELECT try(format('INSERT INTO messages (conversation_id, content) VALUES (%L, ''SECRET'')', :'other'));
SELECT try(format('INSERT INTO messages (conversation_id, content) VALUES (%L, ''SECRET'')', :'nobody'));
:as_no_one
SELECT try(format('INSERT INTO messages (conversation_id, content) VALUES (%L, ''SECRET'')', :'group'));
:as_anon
SELECT try(format('INSERT INTO messages (conversation_id, content) VALUES (%L, ''SECRET'')', :'group'));

-- Many at once, in their order, and all or none.
:as_bob
INSERT INTO messages (conversation_id, content)
SELECT :'group', 'line ' || n FROM generate_series(1, 3) AS n;
SELECT try(format('INSERT INTO messages (conversation_id, content) VALUES (%1$L, ''SECRET''), (%2$L, ''SECRET'')', :'group', :'other'));
SELECT tell(m) FROM messages m WHERE conversation_id = :'group' ORDER BY seq;

-- What is sent.
SELECT what, try(format('INSERT INTO messages (conversation_id, %s) VALUES (%L, %s)', columns, :'group', texts))
FROM (VALUES
	('nothing', 'content', 'NULL'),
	('blank', 'content', ''' '''),
	('blank, in Unicode', 'content', 'U&''\2003\200B\3000'''),
	('empty', 'content', ''''''),
	('an empty attachment', 'content, content_type', ''''', ''attachment'''),
	('as long as may be', 'content', 'repeat(''x'', 16384)'),
	('too long', 'content', 'repeat(''SECRET'', 16384)'),
	('bytes, not characters', 'content', 'repeat(''ß'', 8193)'),
	('by a service only', 'content, content_type', '''SECRET'', ''system'''),
	('by a service only', 'content, content_type', '''SECRET'', ''suggested'''),
	('no such type', 'content, content_type', '''SECRET'', ''SECRET type'''),
	('no type', 'content, content_type', '''SECRET'', NULL'),
	('metadata', 'content, metadata', '''x'', ''{"a": {"b": [1]}}'''),
	('metadata is an object', 'content, metadata', '''SECRET'', ''["SECRET"]'''),
	('deep metadata', 'content, metadata', '''SECRET'', (''{"a":'' || repeat(''['', 16) || repeat('']'', 16) || ''}'')::jsonb'),
	('long metadata', 'content, metadata', '''SECRET'', jsonb_build_object(''SECRET'', repeat(''x'', 16384))'),
	('long numbers', 'content, metadata', '''SECRET'', (''{"a": ['' || repeat(''1e131071,'', 8500) || ''0]}'')::jsonb'),
	('a key', 'content, client_message_id', '''x'', ''key-1'''),
	('the same again', 'content, client_message_id', '''x'', ''key-1'''),
	('for another message', 'content, client_message_id', '''SECRET'', ''key-1'''),
	('an invalid key', 'content, client_message_id', '''SECRET'', ''SECRET key''')
) AS cases (what, columns, texts);
SELECT try('INSERT INTO messages (content) VALUES (''SECRET'')');

-- A function finds what an INSERT has stored under a key, and the other way.
SELECT content, client_message_id FROM openhr_msg.send_message(:'group', 'x', client_message_id => 'key-1');
SELECT content FROM openhr_msg.send_message(:'group', 'y', client_message_id => 'key-2');
SELECT try(format('INSERT INTO messages (conversation_id, content, client_message_id) VALUES (%L, ''y'', ''key-2'')', :'group'));

-- A reply is to a message of the same conversation.
SELECT id AS first FROM messages WHERE conversation_id = :'group' AND seq = 1 \gset
:as_cem
INSERT INTO messages (conversation_id, content) VALUES (:'other', 'SECRET');
SELECT id AS elsewhere FROM messages WHERE conversation_id = :'other' \gset
:as_bob
INSERT INTO messages (conversation_id, content, reply_to_message_id)
VALUES (:'group', 'why?', :'first') RETURNING tell(messages), reply_to_message_id = :'first';
SELECT try(format('INSERT INTO messages (conversation_id, content, reply_to_message_id) VALUES (%L, ''SECRET'', %L)', :'group', id))
FROM unnest(ARRAY[:'elsewhere', :'nobody']) AS id;

-- The sender has read what is there; others have not.
SELECT right(profile_id::text, 2), last_seq - last_read_seq AS unread
FROM conversation_participants p
JOIN conversations c ON c.id = p.conversation_id
WHERE c.id = :'group' ORDER BY 1;

-- Who is muted reads, and takes words back.
:as_owner
UPDATE conversation_participants SET is_muted = true
WHERE conversation_id = :'group' AND profile_id = :'bob';
:as_bob
SELECT try(format('INSERT INTO messages (conversation_id, content) VALUES (%L, ''SECRET'')', :'group'));
SELECT try(format('UPDATE messages SET content = ''SECRET'' WHERE conversation_id = %L AND seq = 3', :'group'));
SELECT try(format('UPDATE messages SET is_deleted = true WHERE conversation_id = %L AND seq = 3', :'group'));
SELECT try(format('INSERT INTO messages (conversation_id, content) VALUES (%L, ''elsewhere he is not'')', :'pair'));
:as_owner
UPDATE conversation_participants SET is_muted = false
WHERE conversation_id = :'group' AND profile_id = :'bob';
UPDATE conversations SET is_archived = true WHERE id = :'group';
:as_bob
SELECT try(format('INSERT INTO messages (conversation_id, content) VALUES (%L, ''SECRET'')', :'group'));
:as_owner
UPDATE conversations SET is_archived = false WHERE id = :'group';

-- Editing.
:as_bob
SELECT version AS before FROM messages WHERE conversation_id = :'group' AND seq = 4 \gset
UPDATE messages SET content = 'line two' WHERE conversation_id = :'group' AND seq = 4
RETURNING content, is_edited, version > :before, updated_at > created_at;
UPDATE messages SET metadata = '{"mood": "good"}' WHERE conversation_id = :'group' AND seq = 4
RETURNING content, metadata;
-- What changes nothing writes nothing, and is no version.
SELECT last_version AS before FROM conversations WHERE id = :'group' \gset
SELECT try(format('UPDATE messages SET content = content, metadata = metadata, is_deleted = false WHERE conversation_id = %L AND NOT is_deleted', :'group'));
SELECT last_version - :before FROM conversations WHERE id = :'group';
SELECT what, try(format('UPDATE messages SET %s WHERE conversation_id = %L AND seq = 4', change, :'group'))
FROM (VALUES
	('blank', 'content = '' '''),
	('NULL', 'content = NULL'),
	('too long', 'content = repeat(''SECRET'', 16384)'),
	('metadata is an object', 'metadata = ''"SECRET"'''),
	('neither deleted nor not', 'is_deleted = NULL'),
	('not his to change', 'seq = 1'),
	('not his to change', 'version = 1'),
	('not his to change', 'sender_profile_id = NULL'),
	('not his to change', 'created_at = now()'),
	('not his to change', 'is_edited = false')
) AS cases (what, change);
SELECT try(format('UPDATE messages SET content = ''SECRET'' WHERE conversation_id = %L AND seq = 1', :'group'));
SELECT try(format('UPDATE messages SET is_deleted = true WHERE conversation_id = %L AND seq = 1', :'group'));
-- What he does not see he does not find.
SELECT try(format('UPDATE messages SET content = ''SECRET'' WHERE conversation_id = %L', :'other'));
SELECT try(format('UPDATE messages SET content = ''SECRET'' WHERE id = %L', :'elsewhere'));

-- Deleting: a tombstone without content, for good.
UPDATE messages SET is_deleted = true, content = 'SECRET' WHERE conversation_id = :'group' AND seq = 4
RETURNING seq, content = '', metadata IS NULL, is_edited, is_deleted;
SELECT try(format('UPDATE messages SET is_deleted = true WHERE conversation_id = %L AND seq = 4', :'group'));
SELECT try(format('UPDATE messages SET is_deleted = false WHERE conversation_id = %L AND seq = 4', :'group'));
SELECT try(format('UPDATE messages SET content = ''SECRET'' WHERE conversation_id = %L AND seq = 4', :'group'));
SELECT try(format('DELETE FROM messages WHERE conversation_id = %L', :'group'));
-- An admin deletes what others have written in a group, but does not edit it.
:as_ann
SELECT try(format('UPDATE messages SET content = ''SECRET'' WHERE conversation_id = %L AND seq = 5', :'group'));
SELECT try(format('UPDATE messages SET is_deleted = true WHERE conversation_id = %L AND seq = 5', :'group'));
SELECT try(format('UPDATE messages SET is_deleted = true WHERE conversation_id = %L AND sender_profile_id = %L', :'pair', :'bob'));

-- The same rules when somebody has granted everything.
:as_owner
GRANT ALL ON messages TO authenticated;
:as_bob
INSERT INTO messages (id, conversation_id, content, created_at, updated_at,
	delivered_at, read_at, seq, version, is_edited, is_deleted)
VALUES (openhr_msg.uuid_v7(), :'group', 'forged', '2001-01-01', '2001-01-01',
	'2001-01-01', '2001-01-01', 1000, 1000, true, true)
RETURNING content, created_at > now(), updated_at, delivered_at, read_at,
	seq < 1000, version < 1000, is_edited, is_deleted;
-- No id of his choice, so no conflict that takes a seq and writes nothing.
SELECT id AS taken, seq AS before FROM messages WHERE conversation_id = :'group' ORDER BY seq DESC LIMIT 1 \gset
INSERT INTO messages (id, conversation_id, content) VALUES (:'taken', :'group', 'again')
ON CONFLICT DO NOTHING RETURNING id <> :'taken', seq - :before;
SELECT id AS taken, seq AS before FROM openhr_msg.send_message(:'group', 'by function', client_message_id => 'key-3') \gset
INSERT INTO messages (id, conversation_id, content) VALUES (:'taken', :'group', 'again')
ON CONFLICT DO NOTHING RETURNING id <> :'taken', seq - :before;
SELECT try(format('INSERT INTO messages (id, conversation_id, content) VALUES (%s, %L, ''SECRET'')', id, :'group'))
FROM (VALUES ('NULL'), ('''00000000-0000-0000-0000-000000000000'''), ('openhr_msg.uuid_v7_floor(now() - interval ''40 days'')')) AS ids (id);
UPDATE messages SET seq = 1, version = 1, sender_profile_id = NULL, content = 'edited',
	conversation_id = :'pair', created_at = '2001-01-01', is_edited = false, content_type = 'system'
WHERE conversation_id = :'group' AND id = :'taken'
RETURNING conversation_id = :'group', right(sender_profile_id::text, 2), content, content_type,
	seq - :before, version > :before, created_at > now() - interval '1 hour', is_edited;
SELECT try(format('DELETE FROM messages WHERE conversation_id = %L', :'group'));
SELECT try('TRUNCATE messages');
:as_owner
REVOKE ALL ON messages FROM authenticated;
GRANT SELECT, INSERT (conversation_id, sender_profile_id, content, content_type,
		metadata, reply_to_message_id, client_message_id),
	UPDATE (content, metadata, is_deleted) ON messages TO authenticated;

-- A service is taken at its word: what it gives is kept, and counted.
:as_service
INSERT INTO messages (conversation_id, sender_profile_id, content, content_type)
VALUES (:'pair', NULL, 'welcome', 'system') RETURNING tell(messages);
INSERT INTO messages (id, conversation_id, sender_profile_id, content, created_at, seq, version)
VALUES (openhr_msg.uuid_v7_floor('2024-05-06'), :'pair', :'bob', 'copied', '2024-05-06', 10, 20)
RETURNING tell(messages), created_at = '2024-05-06', id = openhr_msg.uuid_v7_floor('2024-05-06');
SELECT last_seq, last_version FROM conversations WHERE id = :'pair';
INSERT INTO messages (conversation_id, content, created_at, seq, version)
VALUES (:'pair', 'older', '2024-05-06', 9, 19) RETURNING tell(messages);
INSERT INTO messages (conversation_id, content, seq)
VALUES (:'pair', 'the rest is added', 11) RETURNING tell(messages), created_at > now();
SELECT last_seq, last_version FROM conversations WHERE id = :'pair';
UPDATE messages SET content = 'corrected' WHERE conversation_id = :'pair' AND seq = 9 RETURNING tell(messages);
UPDATE messages SET version = 30 WHERE conversation_id = :'pair' AND seq = 9 RETURNING tell(messages);
UPDATE messages SET is_deleted = true WHERE conversation_id = :'pair' AND seq = 10 RETURNING tell(messages);
SELECT try(format('UPDATE messages SET content = content WHERE conversation_id = %L', :'pair'));
SELECT last_seq, last_version FROM conversations WHERE id = :'pair';
-- But not everything can be, and nothing is shown when it cannot.
SELECT try(format('INSERT INTO messages (%s) VALUES (%s)', columns, texts))
FROM (VALUES
	('content', '''SECRET'''),
	('conversation_id, content', '''44444444-4444-4444-4444-444444444444'', ''SECRET'''),
	('conversation_id, content, seq', '''44444444-4444-4444-4444-444444444444'', ''SECRET'', 1'),
	('conversation_id, content, seq, version', '''11111111-1111-1111-1111-111111111111'', NULL, 99, 99'),
	('conversation_id, content, content_type, seq, version', '''11111111-1111-1111-1111-111111111111'', ''SECRET'', ''SECRET'', 99, 99'),
	('conversation_id, content, seq, version, is_deleted', '''11111111-1111-1111-1111-111111111111'', ''SECRET'', 99, 99, NULL'),
	('id, conversation_id, content', 'NULL, ''11111111-1111-1111-1111-111111111111'', ''SECRET'''),
	('conversation_id, content', '''11111111-1111-1111-1111-111111111111'', repeat(''SECRET'', 16384)')
) AS cases (columns, texts);
SELECT try(format('UPDATE messages SET %s WHERE conversation_id = %L AND seq = 1', change, :'pair'))
FROM (VALUES ('content = NULL'), ('content_type = ''SECRET'''), ('seq = NULL'),
	('version = NULL'), ('is_edited = NULL'),
	('conversation_id = ''33333333-3333-3333-3333-333333333333''')) AS cases (change);
DELETE FROM messages WHERE conversation_id = :'pair' AND seq = 9 RETURNING tell(messages);

-- What is there already takes no new place, whether it is refused or not.
SELECT last_seq AS before FROM conversations WHERE id = :'group' \gset
INSERT INTO messages (id, conversation_id, content)
VALUES (:'taken', :'group', 'again') ON CONFLICT DO NOTHING;
SELECT left(try(format('INSERT INTO messages (id, conversation_id, content) VALUES (%L, %L, ''SECRET'')', :'taken', :'group')), 5);
INSERT INTO messages (conversation_id, content) VALUES (:'group', 'next') RETURNING seq - :before;

-- With an identity, a service is the profile and no more.
BEGIN;
SET LOCAL request.jwt.claims = '{"role": "service_role", "sub": "00000000-0000-0000-0000-0000000000e5"}';
SELECT try(format('INSERT INTO messages (conversation_id, content) VALUES (%L, ''SECRET'')', :'group'));
SELECT try(format('INSERT INTO messages (conversation_id, content) VALUES (%L, ''hi'')', :'other'));
ROLLBACK;

-- Time does not run backwards, although the clock does.
:as_owner
UPDATE conversations SET updated_at = now() + interval '10 s' WHERE id = :'group';
:as_ann
INSERT INTO messages (conversation_id, content) VALUES (:'group', 'before') RETURNING created_at > now() + interval '9 s';
UPDATE conversations SET title = 'renamed' WHERE id = :'group';
INSERT INTO messages (conversation_id, content) VALUES (:'group', 'after');

-- All in all: dense, and in the order of the ids and of the times.
:as_owner
SELECT c.id, last_seq, max(m.version) <= last_version, count(DISTINCT m.seq),
	count(m) = max(m.seq)
FROM conversations c JOIN messages m ON m.conversation_id = c.id
WHERE c.id <> :'pair' GROUP BY c.id ORDER BY c.id;
SELECT count(*) FROM (
	SELECT id < lag(id) OVER place OR created_at < lag(created_at) OVER place AS wrong
	FROM messages WHERE conversation_id = :'group'
	WINDOW place AS (ORDER BY seq)) AS pairs WHERE wrong;

\set ECHO none
:as_owner
TRUNCATE conversations;
DELETE FROM profiles;
DROP FUNCTION answer, try, tell;
