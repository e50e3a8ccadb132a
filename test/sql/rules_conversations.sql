-- What a profile may write to conversations by SQL of its own.
\set ECHO none
\getenv srcdir PG_ABS_SRCDIR
\set rules :srcdir /sql/include/rules.psql
\i :rules
SELECT gen_random_uuid() AS match \gset
INSERT INTO matches (id) VALUES (:'match');
\set ECHO all

-- Opening one, and becoming the first to take part.
:as_bob
INSERT INTO conversations (title, type, match_id) VALUES ('cooking', 'group', :'match')
RETURNING right(created_by::text, 2), title, type, match_id = :'match', is_archived, last_seq, last_version,
	created_at = now();
SELECT id AS new_id FROM conversations WHERE title = 'cooking' \gset
SELECT id = :'new_id', openhr_msg.is_participant(id) FROM conversations WHERE title = 'cooking';
:as_eve
SELECT count(*) FROM conversations WHERE title = 'cooking';
:as_bob
INSERT INTO conversation_participants (conversation_id, profile_id) VALUES (:'new_id', :'bob')
RETURNING right(profile_id::text, 2), role;
INSERT INTO conversation_participants (conversation_id, profile_id) VALUES (:'new_id', :'eve')
RETURNING right(profile_id::text, 2), role;
:as_eve
SELECT count(*) FROM conversations WHERE title = 'cooking';
:as_bob
-- Who left it does not see it, though he has opened it.
DELETE FROM conversation_participants WHERE conversation_id = :'new_id' AND profile_id = :'bob';
SELECT count(*) FROM conversations WHERE title = 'cooking';

SELECT what, try(format('INSERT INTO conversations (%s) VALUES (%s)', columns, texts))
FROM (VALUES
	('in the own name', 'created_by', '''00000000-0000-0000-0000-0000000000b2'''),
	('in another name', 'created_by', '''00000000-0000-0000-0000-0000000000a1'''),
	('by a service only', 'title, type', '''SECRET'', ''system'''),
	('no such type', 'title, type', '''SECRET'', ''SECRET'''),
	('no type', 'title, type', '''SECRET'', NULL'),
	('blank', 'title', '''  '''),
	('as long as may be', 'title', 'repeat(''x'', 256)'),
	('too long', 'title', 'repeat(''SECRET'', 50)'),
	('no such match', 'title, match_id', '''SECRET'', ''00000000-0000-0000-0000-000000000000'''),
	('not his to give', 'title, last_seq', '''SECRET'', 5'),
	('not his to give', 'title, id', '''SECRET'', ''00000000-0000-0000-0000-000000000000''')
) AS cases (what, columns, texts);
:as_no_one
SELECT try('INSERT INTO conversations (title) VALUES (''SECRET'')');
:as_anon
SELECT try('INSERT INTO conversations (title) VALUES (''SECRET'')');

-- Title and archive, by an admin of a group or either of a pair.
:as_ann
SELECT updated_at AS before FROM conversations WHERE id = :'group' \gset
UPDATE conversations SET title = 'friends' WHERE id = :'group'
RETURNING title, is_archived, updated_at > :'before';
UPDATE conversations SET title = NULL, is_archived = true WHERE id = :'group'
RETURNING title, is_archived;
SELECT try(format('UPDATE conversations SET title = NULL, is_archived = true WHERE id = %L', :'group'));
UPDATE conversations SET is_archived = false WHERE id = :'group' RETURNING is_archived;
:as_bob
UPDATE conversations SET title = 'we two' WHERE id = :'pair' RETURNING title;
SELECT what, try(format('UPDATE conversations SET %s WHERE id = %L', change, id))
FROM (VALUES
	('only an admin', 'title = ''SECRET''', :'group'),
	('only an admin', 'is_archived = true', :'group'),
	('nothing new', 'is_archived = false', :'group'),
	('not his', 'title = ''SECRET''', :'other'),
	('blank', 'title = '' ''', :'pair'),
	('too long', 'title = repeat(''SECRET'', 50)', :'pair'),
	('neither archived nor not', 'title = ''SECRET'', is_archived = NULL', :'pair'),
	('not his to change', 'last_seq = 100', :'pair'),
	('not his to change', 'type = ''group''', :'pair'),
	('not his to change', 'created_by = NULL', :'pair')
) AS cases (what, change, id);
SELECT try(format('DELETE FROM conversations WHERE id = %L', :'pair'));

-- The same rules when somebody has granted everything.
:as_owner
GRANT ALL ON conversations TO authenticated;
:as_bob
INSERT INTO conversations (id, created_by, title, type, is_archived, created_at, updated_at, last_seq, last_version)
VALUES (:'nobody', :'bob', 'forged', 'group', true, '2001-01-01', '2001-01-01', 50, 50)
RETURNING id <> :'nobody', is_archived, created_at = now(), updated_at = now(), last_seq, last_version;
UPDATE conversations SET id = :'nobody', title = 'still we', type = 'group', created_by = :'bob', match_id = :'match',
	created_at = '2001-01-01', last_seq = 50, last_version = 50
WHERE id = :'pair'
RETURNING id = :'pair', title, type, right(created_by::text, 2), match_id, created_at > '2001-01-01', last_seq, last_version;
SELECT try(format('UPDATE conversations SET last_seq = 50 WHERE id = %L', :'pair'));
SELECT try('DELETE FROM conversations');
SELECT try('TRUNCATE conversations');
SELECT try('TRUNCATE conversations CASCADE');
SELECT count(*) FROM conversations;
:as_owner
REVOKE ALL ON conversations FROM authenticated;
GRANT SELECT, INSERT (created_by, title, type, match_id), UPDATE (title, is_archived)
	ON conversations TO authenticated;

-- A service is taken at its word.
:as_service
INSERT INTO conversations (id, created_by, title, type, last_seq, last_version, created_at)
VALUES ('44444444-4444-4444-4444-444444444444', :'nobody', 'copied', 'system', 7, 9, '2001-01-01')
RETURNING id, right(created_by::text, 2), type, last_seq, last_version, created_at = '2001-01-01';
UPDATE conversations SET last_seq = 8, type = 'group', created_by = :'eve'
WHERE id = '44444444-4444-4444-4444-444444444444' RETURNING last_seq, type, right(created_by::text, 2);
SELECT try(format('INSERT INTO conversations (%s) VALUES (%s)', columns, texts))
FROM (VALUES ('title, type', '''SECRET'', ''SECRET'''), ('title, type', '''SECRET'', NULL'),
	('title, created_at', '''SECRET'', NULL'), ('title, last_seq', '''SECRET'', NULL'),
	('title, match_id', '''SECRET'', ''00000000-0000-0000-0000-000000000000''')
) AS cases (columns, texts);
SELECT try(format('UPDATE conversations SET %s WHERE id = %L', change, :'other'))
FROM (VALUES ('type = ''SECRET'''), ('type = NULL'), ('is_archived = NULL'),
	('id = ''00000000-0000-0000-0000-000000000000''')) AS cases (change);
DELETE FROM conversations WHERE id = '44444444-4444-4444-4444-444444444444' RETURNING title;

\set ECHO none
:as_owner
TRUNCATE conversations;
DELETE FROM profiles;
DELETE FROM matches;
DROP FUNCTION answer, try, tell;
