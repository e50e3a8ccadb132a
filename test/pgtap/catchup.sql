-- What a profile has missed since a position.  Each statement is a transaction
-- of its own, as positions are made of them; the end cleans up.
SELECT no_plan();
\ir people.psql
SELECT set_config('openhr_msg.rate_limit', '0', false);

-- Statements as somebody, each in a transaction.
CREATE FUNCTION pg_temp.as(who uuid, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	PERFORM pg_temp.become(who);
	EXECUTE statement INTO answer;
	RESET ROLE;
	RETURN answer;
END
$$;
CREATE FUNCTION pg_temp.send(who uuid, talk uuid, content text) RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.as(who, format('SELECT id FROM openhr_msg.send_message(%L, %L)', talk, content))
$$;
CREATE FUNCTION pg_temp.name(profile text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE left(profile, 1) WHEN 'a' THEN 'ann' WHEN 'b' THEN 'bob' WHEN 'e' THEN 'eve' END
$$;

-- "INSERT message hello": what is missed, in its order.  At a later time, since
-- all this happens within the seconds in which everything is new.
CREATE FUNCTION pg_temp.missed(who uuid, seen pg_snapshot, more xid8[] DEFAULT '{}', later interval DEFAULT '1 hour',
	until pg_snapshot DEFAULT NULL, talk uuid DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(concat_ws(' ', action, CASE relation
		WHEN 'messages' THEN 'message ' || (record->>'content')
		WHEN 'conversations' THEN concat('talk', ' ' || (record->>'title'))
		ELSE 'member ' || pg_temp.name(coalesce(record, old_record)->>'profile_id') END), ', '), 'nothing')
	FROM openhr_msg.missed_changes(who, seen, more, now() + later, until, talk)
$$;

SELECT pg_temp.as(:ann, format('SELECT id FROM openhr_msg.create_conversation(ARRAY[%L]::uuid[], ''Club'', ''group'')', :bob)) AS talk \gset
SELECT pg_temp.as(:ann, format('SELECT id FROM openhr_msg.create_conversation(ARRAY[%L]::uuid[])', :bob)) AS pair \gset
SELECT pg_temp.send(:ann, :'talk', 'one') AS one \gset
SELECT pg_temp.send(:ann, :'talk', 'two') AS two \gset

-- New and changed messages.
SELECT openhr_msg.mark() AS mark \gset
SELECT is(pg_temp.missed(:bob, :'mark'), 'nothing', 'nothing is missed at first');
SELECT pg_temp.send(:ann, :'talk', 'three') AS three \gset
SELECT pg_temp.send(:bob, :'talk', 'four') AS four \gset
SELECT is(pg_temp.missed(:bob, :'mark'),
	'UPDATE talk Club, UPDATE member ann, UPDATE member bob, INSERT message three, INSERT message four',
	'new messages, the markers of who sent them, and the conversation');
SELECT is(pg_temp.missed(:bob, :'mark', later => '0'),
	'INSERT talk Club, INSERT member ann, INSERT member bob, INSERT message three, INSERT message four',
	'what is as young as the position may be new');
SELECT is(pg_temp.missed(:eve, :'mark'), 'nothing', 'others miss nothing');
SELECT is(pg_temp.missed(:bob, :'mark', talk => :'pair'), 'nothing', '... nor does who asks for another conversation');
SELECT is(pg_temp.missed(:bob, :'mark', talk => :'talk'), pg_temp.missed(:bob, :'mark'), 'one conversation only');
SELECT openhr_msg.mark() AS later \gset
SELECT is(pg_temp.missed(:bob, :'later'), 'nothing', 'a later position misses nothing');

SELECT pg_temp.as(:ann, format('SELECT id FROM openhr_msg.edit_message(%L, ''one!'')', :'one')) AS x \gset
SELECT is(pg_temp.missed(:bob, :'later'), 'UPDATE talk Club, UPDATE message one!', 'an edited message is not new');
SELECT is(pg_temp.missed(:bob, :'mark'),
	'UPDATE talk Club, UPDATE member ann, UPDATE member bob, INSERT message three, INSERT message four, UPDATE message one!',
	'... also among new ones');
SELECT is(pg_temp.missed(:bob, :'mark', until => :'later'), 'UPDATE member ann, UPDATE member bob, INSERT message three, INSERT message four',
	'what was changed behind the mark is left out');
SELECT is(pg_temp.missed(:bob, :'later', until => :'later'), 'nothing', '... where nothing else is left');
SELECT pg_temp.as(:ann, format('SELECT id FROM openhr_msg.delete_message(%L)', :'three')) AS x \gset
SELECT is(pg_temp.missed(:bob, :'later'), 'UPDATE talk Club, UPDATE message one!, UPDATE message ',
	'a message that was seen and then deleted');
SELECT pg_temp.as(:bob, format('SELECT id FROM openhr_msg.edit_message(%L, ''four!'')', :'four')) AS x \gset
SELECT is(pg_temp.missed(:bob, :'mark'),
	'UPDATE talk Club, UPDATE member ann, UPDATE member bob, UPDATE message one!, UPDATE message , UPDATE message four!',
	'when all were changed, and the time does not tell, nothing is new');
SELECT is(pg_temp.missed(:bob, :'mark', later => '0'),
	'INSERT talk Club, INSERT member ann, INSERT member bob, UPDATE message one!, INSERT message , INSERT message four!',
	'... or what the time says, but nothing below what was seen');
SELECT pg_temp.send(:ann, :'talk', 'five') AS five \gset
SELECT pg_temp.send(:ann, :'talk', 'six') AS six \gset
SELECT pg_temp.as(:ann, format('SELECT id FROM openhr_msg.edit_message(%L, ''six!'')', :'six')) AS x \gset
SELECT is(pg_temp.missed(:bob, :'later', talk => :'talk'),
	'UPDATE talk Club, UPDATE member ann, UPDATE message one!, UPDATE message , UPDATE message four!, INSERT message five, INSERT message six!',
	'above a new one all are new');

-- The record is what the output plugin writes.
SELECT is((SELECT string_agg(key, ',') FROM openhr_msg.missed_changes(:bob, :'later'), json_object_keys(old_record) AS key
	WHERE relation = 'messages' AND record->>'content' = 'one!'), 'id,conversation_id,seq',
	'an old record has the columns of the identity');
SELECT is((SELECT record->'seq' || ' ' || (record->'version') || ' ' || (record->>'sender_profile_id') FROM openhr_msg.missed_changes(:bob, :'later')
	WHERE record->>'content' = 'five'), '5 8 ' || :ann, 'a record has the row');
SELECT is((SELECT (record->>'created_at')::timestamptz FROM openhr_msg.missed_changes(:bob, :'later') WHERE record->>'content' = 'five'),
	(SELECT created_at FROM messages WHERE id = :'five'), '... with its times');
SELECT pg_temp.send(:ann, :'talk', string_agg(md5(i::text), '')) AS long FROM generate_series(1, 400) AS i \gset
SELECT is((SELECT length(record->>'content') FROM openhr_msg.missed_changes(:bob, :'later') WHERE record->>'id' = :'long'), 12800,
	'a value that is stored elsewhere is fetched');

-- Further transactions of a position.
SELECT openhr_msg.mark() AS mark \gset
SELECT pg_temp.send(:ann, :'talk', 'seven') AS seven \gset
SELECT xmin AS seven_xid FROM messages WHERE id = :'seven' \gset
SELECT pg_temp.send(:ann, :'talk', 'eight') AS eight \gset
SELECT is(pg_temp.missed(:bob, :'mark', ARRAY[:'seven_xid']::xid8[]), 'UPDATE talk Club, UPDATE member ann, INSERT message eight',
	'what was got after the snapshot is not missed');

-- Receipts and reading.
SELECT pg_temp.send(:ann, :'pair', 'tick') AS tick \gset
SELECT openhr_msg.mark() AS mark \gset
SELECT pg_temp.as(:bob, format('SELECT last_read_seq FROM openhr_msg.mark_read(%L)', :'pair')) AS x \gset
SELECT is(pg_temp.missed(:ann, :'mark'), 'UPDATE talk, UPDATE member bob, UPDATE message tick', 'ticks move');
SELECT ok((SELECT record->>'read_at' IS NOT NULL FROM openhr_msg.missed_changes(:ann, :'mark') WHERE relation = 'messages'), '... and are told');
SELECT pg_temp.as(:bob, format('SELECT last_read_seq FROM openhr_msg.mark_read(%L)', :'talk')) AS x \gset
SELECT is(pg_temp.missed(:ann, :'mark', talk => :'talk'), 'UPDATE member bob', 'a marker that moves alone');

-- The order of conversations is that of their latest change.
SELECT openhr_msg.mark() AS mark \gset
SELECT pg_temp.send(:ann, :'pair', 'first') AS x \gset
SELECT pg_temp.send(:ann, :'talk', 'second') AS x \gset
SELECT is((SELECT string_agg(record->>'content', ' ') FROM openhr_msg.missed_changes(:bob, :'mark')), 'first second', 'older news first');
SELECT pg_temp.send(:ann, :'pair', 'third') AS x \gset
SELECT is((SELECT string_agg(record->>'content', ' ') FROM openhr_msg.missed_changes(:bob, :'mark')), 'second first third', '... whatever their ids');

-- Joining: what happened since.
SELECT openhr_msg.mark() AS mark \gset
SELECT pg_temp.send(:ann, :'talk', 'before') AS x \gset
SELECT pg_temp.as(:ann, format('SELECT 1 FROM openhr_msg.add_participant(%L, %L)', :'talk', :eve)) AS x \gset
SELECT pg_temp.send(:ann, :'talk', 'after') AS x \gset
SELECT is(pg_temp.missed(:eve, :'mark', later => '0'), 'INSERT talk Club, INSERT member ann, INSERT member eve, INSERT message after',
	'who joined misses nothing of before');
SELECT is(pg_temp.missed(:bob, :'mark', later => '0'),
	'INSERT talk Club, INSERT member ann, INSERT member eve, INSERT message before, INSERT message after', '... the others do');

-- Leaving.
SELECT openhr_msg.mark() AS mark \gset
SELECT pg_temp.as(:ann, format('SELECT 1 FROM openhr_msg.remove_participant(%L, %L)', :'talk', :eve)) AS x \gset
SELECT is(pg_temp.missed(:bob, :'mark'), 'DELETE member eve', 'somebody was removed');
SELECT is(pg_temp.missed(:eve, :'mark'), 'DELETE member eve', '... who is told, too');
SELECT is(pg_temp.missed(:eve, :'mark', talk => :'talk'), 'DELETE member eve', '... also about this conversation only');
SELECT is(pg_temp.missed(:eve, :'mark', talk => :'pair'), 'nothing', '... but not about another');
SELECT pg_temp.send(:ann, :'talk', 'alone') AS x \gset
SELECT is(pg_temp.missed(:eve, :'mark'), 'DELETE member eve', '... and of nothing that came later');
SELECT is((SELECT string_agg(key, ',') FROM openhr_msg.missed_changes(:eve, :'mark'), json_object_keys(old_record) AS key),
	(SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
	WHERE attrelid = 'conversation_participants'::regclass AND attnum > 0 AND NOT attisdropped), 'the old record is whole');
SELECT pg_temp.as(:ann, format('SELECT 1 FROM openhr_msg.add_participant(%L, %L)', :'talk', :eve)) AS x \gset
SELECT pg_temp.send(:ann, :'talk', 'again') AS x \gset
SELECT is(pg_temp.missed(:eve, :'mark', later => '0'), 'DELETE member eve, INSERT talk Club, INSERT member ann, INSERT member eve, INSERT message again',
	'who comes back was away in between');
SELECT is(pg_temp.missed(:bob, :'mark', later => '0'),
	'DELETE member eve, INSERT talk Club, INSERT member ann, INSERT member eve, INSERT message alone, INSERT message again', '... as the others are told');

-- A conversation, and a profile, that is gone.
SELECT openhr_msg.mark() AS mark \gset
BEGIN;
SELECT pg_temp.become_service();
DELETE FROM conversations WHERE id = :'pair';
COMMIT;
SELECT is(pg_temp.missed(:bob, :'mark'), 'DELETE talk, DELETE member bob', 'a deleted conversation');
SELECT is((SELECT old_record::text FROM openhr_msg.missed_changes(:bob, :'mark') WHERE relation = 'conversations'), format('{"id":"%s"}', :'pair'),
	'... by its identity');
SELECT is(pg_temp.missed(:bob, :'mark', talk => :'pair'), 'DELETE talk, DELETE member bob', '... also when it is asked for');
SELECT openhr_msg.mark() AS mark \gset
DELETE FROM profiles WHERE id = :eve;
SELECT is(pg_temp.missed(:bob, :'mark'), 'DELETE member eve', 'a deleted profile has left');
SELECT is((SELECT count(*)::int FROM openhr_msg.departures WHERE conversation_id = :'talk'), 2, 'each departure is noted once');

-- Batches.
CREATE FUNCTION pg_temp.in_batches(who uuid, seen pg_snapshot, size int, OUT batches int, OUT events int, OUT same boolean) LANGUAGE plpgsql AS $$
DECLARE
	place bytea;
	all_events text[];
	got text[];
BEGIN
	batches := 0;
	LOOP
		SELECT array_agg(concat(action, relation, record, old_record)), (array_agg(m.cursor))[1] INTO got, place
		FROM openhr_msg.missed_changes(who, seen, max => size, after => place) AS m;
		batches := batches + 1;
		IF cardinality(got) > size THEN
			RAISE EXCEPTION '% events in a batch of %', cardinality(got), size;
		END IF;
		all_events := all_events || got;
		EXIT WHEN place IS NULL;
	END LOOP;
	events := cardinality(all_events);
	same := all_events = (SELECT array_agg(concat(action, relation, record, old_record)) FROM openhr_msg.missed_changes(who, seen));
END
$$;
SELECT openhr_msg.mark() AS mark \gset
SELECT pg_temp.as(:ann, format('SELECT id FROM openhr_msg.create_conversation(ARRAY[%L]::uuid[], %L, ''group'')', :bob, 'C' || i)) AS x
FROM generate_series(1, 5) AS i \g /dev/null
SELECT pg_temp.send(:ann, id, 'n' || i) FROM conversations, generate_series(1, 3) AS i WHERE title <> 'C3' \g /dev/null
SELECT results_eq(format('SELECT * FROM pg_temp.in_batches(%L, %L, %s)', :bob, :'mark', size),
	format('VALUES (%s, 32, true)', batches), format('batches of %s', size))
FROM (VALUES (1, 32), (2, 16), (3, 11), (5, 7), (7, 5), (31, 2), (32, 1), (1000, 1)) AS t(size, batches);
SELECT openhr_msg.mark() AS until \gset
SELECT cursor AS after FROM openhr_msg.missed_changes(:bob, :'mark', max => 20, until => :'until') LIMIT 1 \gset
UPDATE messages SET content = 'edited';
SELECT is((SELECT count(*)::int FROM openhr_msg.missed_changes(:bob, :'mark', until => :'until', after => :'after') WHERE relation = 'messages'), 0,
	'what is changed between two batches is left to the next round');
SELECT throws_ok(format('SELECT openhr_msg.missed_changes(%L, %L, after => %L)', :bob, :'mark', cursor), '22023', 'invalid cursor', 'a cursor that is none')
FROM (VALUES (''), ('\x00'), (repeat('1', 64))) AS t(cursor);

-- Clients that are known.
SELECT results_eq(format('SELECT known, session > 0 FROM openhr_msg.resume_position(%L, ''phone'', ''room'')', :bob), 'VALUES (false, true)',
	'a client is not known at first');
SELECT seen AS first, session AS first_session FROM openhr_msg.client_positions WHERE profile_id = :bob \gset
SELECT pg_temp.send(:ann, :'talk', 'while away') AS x \gset
SELECT results_eq(format('SELECT known, seen::text, session > %s FROM openhr_msg.resume_position(%L, ''phone'', ''room'')', :'first_session', :bob),
	format('VALUES (true, %L, true)', :'first'), '... and then is, at its position, in a new session');
SELECT session AS second_session FROM openhr_msg.client_positions WHERE profile_id = :bob \gset
SELECT openhr_msg.mark() AS mark \gset
SELECT openhr_msg.save_position(:bob, 'phone', 'room', :'first_session', :'mark');
SELECT is((SELECT seen::text FROM openhr_msg.client_positions WHERE profile_id = :bob), :'first', 'an earlier session moves nothing');
SELECT openhr_msg.save_position(:bob, 'phone', 'room', :'second_session', :'mark', '{77,99}');
SELECT results_eq(format('SELECT known, seen::text, more FROM openhr_msg.resume_position(%L, ''phone'', ''room'')', :bob),
	format('VALUES (true, %L, ''{77,99}''::xid8[])', :'mark'), 'the present one does');
SELECT results_eq(format('SELECT known FROM openhr_msg.resume_position(%L, %L, %L)', profile, client, topic), 'VALUES (false)', 'another ' || what)
FROM (VALUES ('topic', :bob, 'phone', 'room2'), ('client', :bob, 'phone2', 'room'), ('profile', :ann, 'phone', 'room')) AS t(what, profile, client, topic);
SELECT openhr_msg.save_position(:bob, 'nobody', 'room', :'second_session', :'mark');
SELECT is((SELECT count(*)::int FROM openhr_msg.client_positions WHERE client_id = 'nobody'), 0, 'saving makes no client known');
SELECT throws_ok(format('SELECT openhr_msg.resume_position(%L, %L, ''room'')', :bob, repeat('x', 65)), '23514', NULL, 'a name that is too long');
SELECT openhr_msg.resume_position(:bob, 'client' || i, 'room') FROM generate_series(1, 250) AS i \g /dev/null
SELECT is((SELECT count(*)::int FROM openhr_msg.client_positions WHERE profile_id = :bob), 200, 'a profile has so many positions');
SELECT is((SELECT count(*)::int FROM openhr_msg.client_positions WHERE client_id IN ('phone', 'client250', 'client1')), 2, '... of which the oldest went');
DELETE FROM profiles WHERE id = :bob;
SELECT is((SELECT count(*)::int FROM openhr_msg.client_positions WHERE profile_id = :bob), 0, 'they go with their profile');

-- Nobody else may.
SELECT is(pg_temp.as(:ann, format('SELECT has_function_privilege(%L, ''EXECUTE'')', oid::regprocedure)), 'false', proname || ' is nobody''s')
FROM pg_proc WHERE proname IN ('mark', 'missed_changes', 'resume_position', 'save_position') AND pronamespace = 'openhr_msg'::regnamespace;

DELETE FROM conversations;
DELETE FROM profiles;
DELETE FROM openhr_msg.departures;
SELECT * FROM finish();
