-- People do things at random, by SQL of their own and by functions.
--
-- Before each step the rules say, in plain SQL over all rows, whether it
-- changes anything; after it, each person sees what a plain join says, unread
-- is what can be counted, and seq is dense.
\set ECHO none
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir /sql/include/chat.psql
\i :helpers
SET openhr_msg.rate_limit = 0;
SET client_min_messages = error;

-- What a profile sees, as itself and by its functions.
CREATE FUNCTION seen() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT concat_ws(E'\n',
		(SELECT string_agg(c::text, ' ' ORDER BY id) FROM conversations c),
		(SELECT string_agg(p::text, ' ' ORDER BY id) FROM conversation_participants p),
		(SELECT string_agg(m::text, ' ' ORDER BY id) FROM messages m),
		(SELECT string_agg(format('%s %s %s', id, unread_count, (last_message).id), ' ' ORDER BY id)
		 FROM openhr_msg.list_conversations(max => 100, include_archived => true)),
		(SELECT string_agg(m::text, ' ' ORDER BY m.conversation_id, m.seq)
		 FROM conversation_participants p, openhr_msg.list_messages(p.conversation_id, 100) m
		 WHERE profile_id = openhr_msg.uid()))
$$;

-- The same from all rows.
CREATE FUNCTION model(profile uuid) RETURNS text LANGUAGE sql STABLE AS $$
	WITH mine AS MATERIALIZED (
		SELECT c.id, p.last_read_seq FROM conversations c, conversation_participants p
		WHERE p.conversation_id = c.id AND p.profile_id = profile)
	SELECT concat_ws(E'\n',
		(SELECT string_agg(c::text, ' ' ORDER BY id) FROM conversations c
		 WHERE id IN (SELECT id FROM mine) OR created_by = profile
		 AND id NOT IN (SELECT conversation_id FROM conversation_participants)),
		(SELECT string_agg(p::text, ' ' ORDER BY id) FROM conversation_participants p
		 WHERE conversation_id IN (SELECT id FROM mine)),
		(SELECT string_agg(m::text, ' ' ORDER BY id) FROM messages m
		 WHERE conversation_id IN (SELECT id FROM mine)),
		(SELECT string_agg(format('%s %s %s', id,
			(SELECT count(*) FROM messages WHERE conversation_id = mine.id AND seq > last_read_seq),
			(SELECT id FROM messages WHERE conversation_id = mine.id ORDER BY seq DESC LIMIT 1)), ' ' ORDER BY id)
		 FROM mine),
		(SELECT string_agg(m::text, ' ' ORDER BY m.conversation_id, m.seq)
		 FROM messages m WHERE conversation_id IN (SELECT id FROM mine)))
$$;

-- Everything but the times.
CREATE FUNCTION state() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT concat_ws(E'\n',
		(SELECT string_agg(format('%s %s %s %s %s', id, title, is_archived, last_seq, last_version), ' ' ORDER BY id)
		 FROM conversations),
		(SELECT string_agg(format('%s %s %s %s', id, role, is_muted, last_read_seq), ' ' ORDER BY id)
		 FROM conversation_participants),
		(SELECT string_agg(format('%s %s %s %s %s', id, seq, version, content, is_deleted), ' ' ORDER BY id)
		 FROM messages))
$$;

-- What is wrong with the conversations, if anything.
CREATE FUNCTION flaws() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(c::text, ' ') FROM conversations c LEFT JOIN LATERAL (
		SELECT count(*) AS messages, count(DISTINCT version) AS versions,
			coalesce(max(seq), 0) AS last_seq, coalesce(max(version), 0) AS last_version,
			coalesce(bool_or(is_deleted AND content <> ''), false) AS undead
		FROM messages WHERE conversation_id = c.id) m ON true
	LEFT JOIN LATERAL (
		SELECT count(*) AS people, coalesce(max(last_read_seq), 0) AS read
		FROM conversation_participants WHERE conversation_id = c.id) p ON true
	WHERE messages <> m.last_seq OR messages <> c.last_seq OR versions <> messages
	OR m.last_version > c.last_version OR undead OR read > c.last_seq
	OR type = 'one_to_one' AND people > 2
$$;

CREATE TABLE outcomes (step text, changes boolean);

CREATE PROCEDURE act(steps integer) LANGUAGE plpgsql AS $$
DECLARE
	people uuid[] := ARRAY(SELECT id FROM profiles ORDER BY id);
	steps_there_are text[] := ARRAY['send', 'send', 'send', 'edit', 'delete', 'add', 'add',
		'remove', 'read', 'mute', 'role', 'archive', 'open'];
	step text;
	by_function boolean;
	me uuid;
	other uuid;
	c conversations;
	m messages;
	mine conversation_participants;
	theirs conversation_participants;
	flag boolean;
	place bigint;
	admins bigint;
	present bigint;
	command text;
	expected boolean;
	before text;
	error text;
	profile uuid;
	seen text;
BEGIN
	FOR n IN 1 .. steps LOOP
		step := steps_there_are[1 + floor(random() * cardinality(steps_there_are))];
		by_function := random() < 0.5;
		flag := random() < 0.5;
		place := floor(random() * 12);
		me := people[1 + floor(random() * cardinality(people))];
		other := people[1 + floor(random() * cardinality(people))];
		IF step = 'open' AND (SELECT count(*) FROM conversations) >= 6 THEN
			step := 'send';
		END IF;
		SELECT * INTO c FROM conversations ORDER BY id
		OFFSET floor(random() * (SELECT count(*) FROM conversations)) LIMIT 1;
		SELECT * INTO m FROM messages WHERE conversation_id = c.id ORDER BY seq
		OFFSET floor(random() * c.last_seq) LIMIT 1;
		SELECT * INTO mine FROM conversation_participants WHERE conversation_id = c.id AND profile_id = me;
		SELECT * INTO theirs FROM conversation_participants WHERE conversation_id = c.id AND profile_id = other;
		SELECT count(*), count(*) FILTER (WHERE role = 'admin') INTO present, admins
		FROM conversation_participants WHERE conversation_id = c.id;

		CASE step
		WHEN 'open' THEN
			command := CASE WHEN by_function
				THEN format('SELECT openhr_msg.create_conversation(ARRAY[%L]::uuid[], %L, %L)', other, 'n' || n, CASE WHEN flag THEN 'group' ELSE 'one_to_one' END)
				ELSE format('INSERT INTO conversations (title, type) VALUES (%L, %L) RETURNING id', 'n' || n, CASE WHEN flag THEN 'group' ELSE 'one_to_one' END) END;
			expected := flag OR me <> other OR NOT by_function;
		WHEN 'send' THEN
			command := CASE WHEN by_function
				THEN format('SELECT openhr_msg.send_message(%L, %L)', c.id, 'n' || n)
				ELSE format('INSERT INTO messages (conversation_id, content) VALUES (%L, %L)', c.id, 'n' || n) END;
			expected := mine.id IS NOT NULL AND NOT mine.is_muted AND NOT c.is_archived;
		WHEN 'edit' THEN
			command := CASE WHEN by_function
				THEN format('SELECT openhr_msg.edit_message(%L, %L)', m.id, 'n' || n)
				ELSE format('UPDATE messages SET content = %L WHERE id = %L', 'n' || n, m.id) END;
			expected := mine.id IS NOT NULL AND NOT mine.is_muted AND NOT m.is_deleted AND m.sender_profile_id = me;
		WHEN 'delete' THEN
			command := CASE WHEN by_function
				THEN format('SELECT openhr_msg.delete_message(%L)', m.id)
				ELSE format('UPDATE messages SET is_deleted = true WHERE id = %L', m.id) END;
			expected := NOT m.is_deleted AND mine.id IS NOT NULL AND (m.sender_profile_id = me OR mine.role = 'admin');
		WHEN 'add' THEN
			command := CASE WHEN by_function
				THEN format('SELECT openhr_msg.add_participant(%L, %L)', c.id, other)
				ELSE format('INSERT INTO conversation_participants (conversation_id, profile_id) VALUES (%L, %L)', c.id, other) END;
			expected := theirs.id IS NULL AND (mine.role = 'admin'
				OR NOT by_function AND c.created_by = me AND c.last_seq = 0
				AND CASE c.type WHEN 'group' THEN admins = 0 ELSE present < 2 END);
		WHEN 'remove' THEN
			command := CASE WHEN by_function
				THEN format('SELECT openhr_msg.remove_participant(%L, %L)', c.id, other)
				ELSE format('DELETE FROM conversation_participants WHERE conversation_id = %L AND profile_id = %L', c.id, other) END;
			expected := theirs.id IS NOT NULL AND (me = other OR mine.role = 'admin');
		WHEN 'read' THEN
			command := CASE WHEN by_function
				THEN format('SELECT openhr_msg.mark_read(%L, %s)', c.id, place)
				ELSE format('UPDATE conversation_participants SET last_read_seq = %s WHERE conversation_id = %L AND profile_id = %L', place, c.id, me) END;
			expected := mine.id IS NOT NULL AND least(place, c.last_seq) > mine.last_read_seq;
		WHEN 'mute' THEN
			command := format('UPDATE conversation_participants SET is_muted = %L WHERE conversation_id = %L AND profile_id = %L', flag, c.id, other);
			expected := mine.role = 'admin' AND theirs.is_muted <> flag AND me <> other;
		WHEN 'role' THEN
			command := CASE WHEN by_function AND theirs.id IS NOT NULL
				THEN format('SELECT openhr_msg.add_participant(%L, %L, %L)', c.id, other, CASE WHEN flag THEN 'admin' ELSE 'member' END)
				ELSE format('UPDATE conversation_participants SET role = %L WHERE conversation_id = %L AND profile_id = %L', CASE WHEN flag THEN 'admin' ELSE 'member' END, c.id, other) END;
			expected := mine.role = 'admin' AND theirs.role <> CASE WHEN flag THEN 'admin' ELSE 'member' END AND me <> other;
		WHEN 'archive' THEN
			flag := random() < 0.3;
			command := CASE WHEN by_function
				THEN format('SELECT openhr_msg.archive_conversation(%L, %L)', c.id, flag)
				ELSE format('UPDATE conversations SET is_archived = %L WHERE id = %L', flag, c.id) END;
			expected := c.is_archived <> flag AND mine.id IS NOT NULL AND (c.type = 'one_to_one' OR mine.role = 'admin');
		END CASE;
		expected := coalesce(expected, false);

		before := state();
		error := NULL;
		PERFORM set_config('request.jwt.claims', format('{"role": "authenticated", "sub": "%s"}', me), true);
		BEGIN
			SET LOCAL ROLE authenticated;
			EXECUTE command;
		EXCEPTION WHEN OTHERS THEN
			error := SQLSTATE || ' ' || SQLERRM;
		END;
		RESET ROLE;
		PERFORM set_config('request.jwt.claims', '', true);

		INSERT INTO outcomes VALUES (step, before <> state());
		IF (before <> state()) <> expected THEN
			RAISE EXCEPTION 'step % of %: % (% expected): %', n, me, command, expected, error;
		END IF;
		IF flaws() IS NOT NULL THEN
			RAISE EXCEPTION 'step % of %: %: %', n, me, command, flaws();
		END IF;
		IF admins > 0 AND EXISTS (SELECT FROM conversation_participants WHERE conversation_id = c.id)
			AND NOT EXISTS (SELECT FROM conversation_participants WHERE conversation_id = c.id AND role = 'admin') THEN
			RAISE EXCEPTION 'step % of %: % took the last admin', n, me, command;
		END IF;

		FOREACH profile IN ARRAY people LOOP
			PERFORM set_config('request.jwt.claims', format('{"role": "authenticated", "sub": "%s"}', profile), true);
			SET LOCAL ROLE authenticated;
			seen := seen();
			RESET ROLE;
			PERFORM set_config('request.jwt.claims', '', true);
			IF seen <> model(profile) THEN
				RAISE EXCEPTION 'step % of %: %: % sees % and not %', n, me, command, profile, seen, model(profile);
			END IF;
		END LOOP;
	END LOOP;
END
$$;
\pset format unaligned
\pset tuples_only on
\set ECHO all
SELECT setseed(0.2);
CALL act(500);
-- Every kind of step changed something, and all but opening was refused.
SELECT string_agg(DISTINCT step, ' ' ORDER BY step) FROM outcomes WHERE changes;
SELECT string_agg(DISTINCT step, ' ' ORDER BY step) FROM outcomes WHERE NOT changes AND step <> 'open';

\set ECHO none
TRUNCATE conversations;
DELETE FROM profiles;
DROP TABLE outcomes;
DROP PROCEDURE act;
DROP FUNCTION answer, seen, model, state, flaws;
