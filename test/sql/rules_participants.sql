-- What a profile may write to conversation_participants by SQL of its own.
\set ECHO none
\getenv srcdir PG_ABS_SRCDIR
\set rules :srcdir /sql/include/rules.psql
\i :rules
-- Who is in a conversation; an admin bears a star.
CREATE FUNCTION members(conversation uuid) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
	SELECT string_agg(right(profile_id::text, 2) || CASE role WHEN 'admin' THEN '*' ELSE '' END, ' ' ORDER BY profile_id)
	FROM public.conversation_participants WHERE conversation_id = $1
$$;
CREATE FUNCTION add(conversation uuid, profile uuid, role text DEFAULT 'member') RETURNS text LANGUAGE sql AS $$
	SELECT try(format('INSERT INTO conversation_participants (conversation_id, profile_id, role) VALUES (%L, %L, %L)', $1, $2, $3))
$$;
CREATE FUNCTION remove(conversation uuid, profile uuid) RETURNS text LANGUAGE sql AS $$
	SELECT try(format('DELETE FROM conversation_participants WHERE conversation_id = %L AND profile_id = %L', $1, $2))
$$;
CREATE FUNCTION change(conversation uuid, profile uuid, change text) RETURNS text LANGUAGE sql AS $$
	SELECT try(format('UPDATE conversation_participants SET %s WHERE conversation_id = %L AND profile_id = %L', $3, $1, $2))
$$;
\set ECHO all

-- Adding to a group: its admins.
:as_bob
SELECT add(:'group', :'eve'), add(:'group', :'bob'), add(:'other', :'bob'), add(:'nobody', :'bob');
:as_no_one
SELECT add(:'group', :'eve');
:as_anon
SELECT add(:'group', :'eve');
:as_eve
SELECT add(:'group', :'eve'), add(:'other', :'bob');
:as_ann
SELECT add(:'group', :'eve', 'admin'), add(:'group', :'eve'), add(:'group', :'nobody'), add(:'group', :'bob', 'king');
SELECT try(format('INSERT INTO conversation_participants (conversation_id, profile_id) VALUES (%L, NULL)', :'group'));
SELECT try(format('INSERT INTO conversation_participants (conversation_id, profile_id, role) VALUES (%L, %L, NULL)', :'group', :'eve'));
SELECT members(:'group');

-- Removing from it: its admins, and everybody leaves.
:as_bob
SELECT remove(:'group', :'cem'), remove(:'group', :'ann'), remove(:'other', :'eve');
:as_eve
SELECT remove(:'group', :'bob'), members(:'group');
:as_bob
SELECT remove(:'group', :'bob'), add(:'group', :'bob'), count(*) FROM conversations WHERE id = :'group';
-- The last admin leaves: who has been there longest takes over.
:as_owner
UPDATE conversation_participants SET joined_at = joined_at - interval '1 hour' WHERE conversation_id = :'group' AND profile_id = :'cem';
INSERT INTO conversation_participants (conversation_id, profile_id) VALUES (:'group', :'bob');
:as_ann
SELECT remove(:'group', :'ann'), members(:'group');
:as_eve
SELECT remove(:'group', :'eve'), members(:'group');
:as_cem
SELECT remove(:'group', :'cem'), members(:'group');
:as_bob
SELECT remove(:'group', :'bob'), members(:'group');
-- Empty, with nothing said: only who opened it can begin again.
SELECT add(:'group', :'bob');
:as_ann
SELECT add(:'group', :'bob'), members(:'group');
SELECT add(:'group', :'ann'), members(:'group');
SELECT add(:'group', :'cem'), members(:'group');

-- A pair is two, and nobody adds to it.
SELECT add(:'pair', :'cem');
:as_cem
SELECT add(:'pair', :'cem');
:as_bob
SELECT remove(:'pair', :'ann'), remove(:'pair', :'bob'), members(:'pair');
:as_ann
SELECT add(:'pair', :'cem', 'admin'), members(:'pair');
SELECT add(:'pair', :'bob');
-- Once there were words, the window is closed.
INSERT INTO messages (conversation_id, content) VALUES (:'pair', 'hi'), (:'group', 'hi');
:as_cem
SELECT remove(:'pair', :'cem');
:as_ann
SELECT add(:'pair', :'bob');
-- Both in one statement, and no third.
INSERT INTO conversations (title) VALUES ('new') RETURNING id AS new \gset
SELECT try(format('INSERT INTO conversation_participants (conversation_id, profile_id) SELECT %L, id FROM unnest(%L::uuid[]) AS id',
	:'new', ARRAY[:'ann', :'bob', :'cem'])), members(:'new');
SELECT try(format('INSERT INTO conversation_participants (conversation_id, profile_id) SELECT %L, id FROM unnest(%L::uuid[]) AS id',
	:'new', ARRAY[:'ann', :'bob'])), members(:'new');

-- Roles and muting, by an admin and about others.
SELECT change(:'group', :'bob', 'role = ''admin'''), change(:'group', :'cem', 'is_muted = true'), members(:'group');
SELECT change(:'group', :'cem', 'is_muted = true'), change(:'group', :'cem', 'role = ''king'''),
	change(:'group', :'cem', 'role = NULL'), change(:'group', :'cem', 'is_muted = NULL');
SELECT change(:'group', :'ann', 'role = ''member'''), change(:'group', :'ann', 'is_muted = true');
SELECT change(:'group', :'cem', 'last_read_seq = 1'), change(:'pair', :'bob', 'is_muted = true');
:as_cem
SELECT change(:'group', :'cem', 'is_muted = false'), change(:'group', :'cem', 'role = ''admin'''), change(:'group', :'bob', 'is_muted = true');
:as_eve
SELECT change(:'group', :'bob', 'is_muted = true'), change(:'group', :'bob', 'role = ''member''');
:as_bob
SELECT change(:'group', :'ann', 'role = ''member'''), members(:'group');
:as_ann
SELECT change(:'group', :'bob', 'role = ''member''');

-- The own marker moves forward, up to the last message.
:as_bob
INSERT INTO messages (conversation_id, content) SELECT :'group', 'line' FROM generate_series(1, 9);
:as_cem
UPDATE conversation_participants SET last_read_seq = 5 WHERE conversation_id = :'group' AND profile_id = :'cem'
RETURNING last_read_seq, last_read_at > now();
SELECT change(:'group', :'cem', 'last_read_seq = 4'), change(:'group', :'cem', 'last_read_seq = 5'),
	change(:'group', :'cem', 'last_read_seq = NULL'), change(:'group', :'cem', 'last_read_seq = -1');
UPDATE conversation_participants SET last_read_seq = 1000 WHERE conversation_id = :'group' AND profile_id = :'cem'
RETURNING last_read_seq;
SELECT change(:'group', :'cem', 'last_read_seq = 1001');

-- The same rules when somebody has granted everything.
:as_owner
GRANT ALL ON conversation_participants TO authenticated;
:as_bob
INSERT INTO conversation_participants (id, conversation_id, profile_id, role, joined_at, last_read_at, is_muted, last_read_seq)
VALUES (:'nobody', :'group', :'eve', 'member', '2001-01-01', '2001-01-01', true, 1)
RETURNING id <> :'nobody', joined_at = now(), last_read_at, is_muted, last_read_seq;
UPDATE conversation_participants SET id = :'nobody', conversation_id = :'pair', profile_id = :'nobody', joined_at = '2001-01-01',
	last_read_at = '2001-01-01', last_read_seq = 1, is_muted = true
WHERE conversation_id = :'group' AND profile_id = :'eve'
RETURNING id <> :'nobody', conversation_id = :'group', right(profile_id::text, 2), joined_at > '2001-01-01', last_read_at, last_read_seq, is_muted;
SELECT change(:'group', :'bob', 'profile_id = ''00000000-0000-0000-0000-000000000000''');
INSERT INTO conversation_participants (conversation_id, profile_id) VALUES (:'group', :'eve')
ON CONFLICT (conversation_id, profile_id) DO UPDATE SET role = 'admin', is_muted = false, last_read_seq = 100
RETURNING role, is_muted, last_read_seq;
SELECT try('TRUNCATE conversation_participants');
:as_cem
SELECT try(format('DELETE FROM conversation_participants WHERE conversation_id = %L', :'group'));
:as_owner
REVOKE ALL ON conversation_participants FROM authenticated;
GRANT SELECT, INSERT (conversation_id, profile_id, role), UPDATE (role, is_muted, last_read_seq), DELETE
	ON conversation_participants TO authenticated;

-- A service is taken at its word, but people do not change places.
:as_service
INSERT INTO conversation_participants (conversation_id, profile_id, role, joined_at, is_muted, last_read_seq)
VALUES (:'pair', :'cem', 'admin', '2001-01-01', true, 7)
RETURNING role, joined_at = '2001-01-01', is_muted, last_read_seq;
SELECT change(:'pair', :'cem', 'last_read_seq = 0, is_muted = false'), change(:'pair', :'cem', 'profile_id = ' || quote_literal(:'eve')),
	change(:'pair', :'cem', 'conversation_id = ' || quote_literal(:'group')), change(:'pair', :'cem', 'joined_at = NULL');
SELECT add(:'group', :'nobody'), add(:'nobody', :'cem');
SELECT remove(:'pair', :'cem'), members(:'pair');

\set ECHO none
:as_owner
TRUNCATE conversations;
DELETE FROM profiles;
DROP FUNCTION answer, try, tell, members, add, remove, change;
