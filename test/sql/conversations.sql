-- Conversations and who is in them, by the functions.
\set ECHO none
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir /sql/include/chat.psql
\i :helpers
INSERT INTO matches (id) VALUES ('00000000-0000-0000-0000-00000000000f');
\pset format unaligned
\pset tuples_only on
\set ECHO all

-- One to one: both are members, whoever opened it, and named once or twice.
:as_ann
SELECT id AS pair FROM openhr_msg.create_conversation(ARRAY[:'bob', :'ann', :'bob']::uuid[],
	match_id => '00000000-0000-0000-0000-00000000000f') \gset _
SELECT created_by = :'ann', title, type, match_id, is_archived, last_seq,
	last_version
FROM conversations WHERE id = :'_pair';
SELECT profile_id, role, is_muted, last_read_seq, last_read_at
FROM conversation_participants WHERE conversation_id = :'_pair'
ORDER BY profile_id;

-- A group: who opened it is its admin.
SELECT id AS team FROM openhr_msg.create_conversation(
	ARRAY[:'bob']::uuid[], 'The team', 'group') \gset _
SELECT title, type FROM openhr_msg.get_conversation(:'_team');
SELECT p.profile_id, p.role
FROM openhr_msg.get_conversation(:'_team'), unnest(participants) p
ORDER BY profile_id;
SELECT id AS alone FROM openhr_msg.create_conversation('{}', 'Alone', 'group') \gset _
SELECT cardinality(participants) FROM openhr_msg.get_conversation(:'_alone');

-- A service makes one of any type, and is not in it.
:as_service
SELECT id AS news, created_by, type FROM openhr_msg.create_conversation(
	ARRAY[:'ann', :'bob']::uuid[], 'News', 'system') \gset _
SELECT created_by, type, role, unread_count, cardinality(participants)
FROM openhr_msg.get_conversation(:'_news');

-- The list: last active first, and what each looks like to its reader.
:as_bob
SELECT seq FROM openhr_msg.send_message(:'_pair', 'hello, ann');
SELECT seq FROM openhr_msg.send_message(:'_pair', 'are you there?');
:as_ann
SELECT title, type, unread_count, last_read_seq, (last_message).content,
	cardinality(participants), is_archived
FROM openhr_msg.list_conversations();
SELECT last_read_seq FROM openhr_msg.mark_read(:'_pair', 1);
SELECT unread_count, role, is_muted, last_read_at IS NOT NULL
FROM openhr_msg.get_conversation(:'_pair');
:as_bob
SELECT title, unread_count FROM openhr_msg.list_conversations();
:as_eve
SELECT count(*) FROM openhr_msg.list_conversations();
:as_service
SELECT count(*), count(role), count(unread_count)
FROM openhr_msg.list_conversations();

-- Pages of the list: each conversation once, also when many share a time.
:as_owner
SELECT count(*) FROM (SELECT openhr_msg.create_conversation(
	ARRAY[:'cem']::uuid[], 'crowd ' || n, 'group') FROM generate_series(1, 7) n) c;
UPDATE conversations SET updated_at = timestamptz '2020-01-01 00:00:00.123456+00'
	+ (substr(title, 7)::int / 3) * interval '1 microsecond'
WHERE title LIKE 'crowd%';
:as_cem
CREATE FUNCTION pg_temp.walk() RETURNS TABLE (page int, title text)
LANGUAGE plpgsql AS $$
DECLARE
	last timestamptz;
BEGIN
	FOR n IN 1 .. 9 LOOP
		page := n;
		RETURN QUERY SELECT n, c.title
			FROM openhr_msg.list_conversations(2, last) c ORDER BY c.title;
		EXIT WHEN NOT FOUND;
		SELECT min(updated_at) INTO last
			FROM openhr_msg.list_conversations(2, last);
	END LOOP;
END
$$;
SELECT * FROM pg_temp.walk();

-- Archive: away for both, and back; nothing happens twice.
:as_bob
SELECT is_archived FROM openhr_msg.archive_conversation(:'_pair');
SELECT updated_at AS archived_at FROM conversations WHERE id = :'_pair' \gset _
SELECT is_archived, updated_at = :'_archived_at'
FROM openhr_msg.archive_conversation(:'_pair', true);
:as_ann
SELECT count(*) FROM openhr_msg.list_conversations() WHERE id = :'_pair';
SELECT is_archived FROM openhr_msg.list_conversations(include_archived => true)
WHERE id = :'_pair';
SELECT answer(format('SELECT openhr_msg.send_message(%L, ''now?'')', :'_pair'));
SELECT is_archived FROM openhr_msg.archive_conversation(:'_pair', archived => false);
:as_bob
SELECT answer(format('SELECT openhr_msg.archive_conversation(%L)', :'_team'));
:as_ann
SELECT is_archived FROM openhr_msg.archive_conversation(:'_team');
SELECT is_archived FROM openhr_msg.archive_conversation(:'_team', false);

-- Participants: an admin adds; a newcomer has read what was there.
SELECT seq FROM openhr_msg.send_message(:'_team', 'first');
SELECT role, last_read_seq FROM openhr_msg.add_participant(:'_team', :'cem');
SELECT role FROM openhr_msg.add_participant(:'_team', :'cem', 'admin');
SELECT role FROM openhr_msg.add_participant(:'_team', :'cem');
SELECT role FROM openhr_msg.add_participant(:'_team', :'cem', 'member');
SELECT answer(format('SELECT openhr_msg.add_participant(%L, %L)', :'_pair', :'cem'));
:as_bob
SELECT answer(format('SELECT openhr_msg.add_participant(%L, %L)', :'_team', :'eve'));
SELECT answer(format('SELECT openhr_msg.remove_participant(%L, %L)', :'_team', :'cem'));

-- An admin removes, everybody leaves; to be gone already is no error.
:as_ann
SELECT openhr_msg.remove_participant(:'_team', :'cem');
SELECT openhr_msg.remove_participant(:'_team', :'cem');
:as_cem
SELECT answer(format('SELECT openhr_msg.get_conversation(%L)', :'_team'));
SELECT answer(format('SELECT openhr_msg.remove_participant(%L, %L)', :'_team', :'cem'));
:as_ann
SELECT openhr_msg.remove_participant(:'_team', :'ann');

-- Who stays behind takes over.
:as_bob
SELECT role FROM openhr_msg.get_conversation(:'_team');
SELECT openhr_msg.remove_participant(:'_pair', :'bob');
SELECT answer(format('SELECT openhr_msg.get_conversation(%L)', :'_pair'));

-- A service adds and removes anywhere.
:as_service
SELECT role FROM openhr_msg.add_participant(:'_news', :'eve', 'admin');
SELECT openhr_msg.remove_participant(:'_news', :'eve');

\set ECHO none
:as_owner
TRUNCATE conversations;
DELETE FROM profiles;
DELETE FROM matches;
DROP FUNCTION answer;
