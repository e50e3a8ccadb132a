-- Who sees which row, and every way round it that SQL knows.
--
-- mallory runs whatever SQL she likes.  She is a member of the group; the
-- other conversation, in which every text is SECRET, she must not see.
\set ECHO none
\getenv srcdir PG_ABS_SRCDIR
\set rules :srcdir /sql/include/rules.psql
\i :rules
\set helpers :srcdir /sql/include/token.psql
\i :helpers
SELECT current_database() AS db, current_user AS admin \gset
CREATE ROLE regress_mallory LOGIN IN ROLE authenticated;
CREATE ROLE regress_web LOGIN NOINHERIT IN ROLE openhr_msg_authenticator, authenticated, anon, service_role;
GRANT CREATE ON SCHEMA public TO regress_mallory;
SELECT make_token(:'bob'::uuid) AS bob_token, make_token(:'eve'::uuid) AS eve_token,
	make_token(NULL, 'service_role') AS service_token \gset
INSERT INTO messages (conversation_id, sender_profile_id, content, metadata, client_message_id) VALUES
	(:'group', :'ann', 'hello', '{"a": 1}', 'k1'), (:'group', :'bob', 'hi', NULL, NULL),
	(:'pair', :'ann', 'between us', NULL, NULL),
	(:'other', :'cem', 'SECRET one', '{"SECRET": 1}', 'SECRET'),
	(:'other', :'eve', 'SECRET two', NULL, NULL);
SELECT id AS secret FROM messages WHERE content = 'SECRET one' \gset

-- What is seen of each table: conversations, participants, messages.
CREATE FUNCTION view() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT concat_ws(' / ',
		(SELECT string_agg(left(id::text, 1), ' ' ORDER BY id) FROM conversations),
		(SELECT string_agg(left(conversation_id::text, 1) || right(profile_id::text, 2), ' ' ORDER BY conversation_id, profile_id)
		 FROM conversation_participants),
		(SELECT string_agg(left(conversation_id::text, 1) || ':' || seq || ' ' || content, ', ' ORDER BY conversation_id, seq) FROM messages))
$$;
\set ECHO all

SET ROLE authenticated;
:as_ann
SELECT view();
:as_bob
SELECT view();
:as_cem
SELECT view();
:as_eve
SELECT view();
:as_no_one
SELECT view();
:as_service
SELECT view();
:as_anon
SELECT try('SELECT FROM conversations'), try('SELECT FROM conversation_participants'), try('SELECT FROM messages');
:as_eve
SELECT try('SELECT FROM openhr_msg.client_messages'), try('SELECT FROM openhr_msg.send_log'),
	try('SELECT FROM openhr_msg.conversation_months'), try('SELECT FROM openhr_msg.messages_default'),
	try('SELECT FROM profiles'), try('SELECT FROM matches');

-- A removed member sees what a stranger sees, from the next statement on.
BEGIN;
:as_owner
DELETE FROM conversation_participants WHERE profile_id = :'bob';
:as_bob
SELECT view();
ROLLBACK;

-- The way of PostgREST.
\c - regress_web
\pset format unaligned
\pset tuples_only on
BEGIN;
SET LOCAL ROLE authenticated;
SET LOCAL request.jwt.claims = '{"role": "authenticated", "sub": "00000000-0000-0000-0000-0000000000b2"}';
SELECT view();
INSERT INTO messages (conversation_id, content) VALUES (:'group', 'by the web') RETURNING tell(messages);
SELECT try(format('INSERT INTO messages (conversation_id, content) VALUES (%L, ''SECRET'')', :'other'));
ROLLBACK;
BEGIN;
SET LOCAL ROLE anon;
SET LOCAL request.jwt.claims = '{"role": "anon"}';
SELECT try('SELECT FROM messages');
SELECT try(format('SELECT openhr_msg.send_message(%L, ''SECRET'')', :'group'));
ROLLBACK;
BEGIN;
SET LOCAL ROLE service_role;
SET LOCAL request.jwt.claims = '{"role": "service_role"}';
SELECT count(*) FROM messages;
INSERT INTO messages (conversation_id, content, content_type) VALUES (:'other', 'notice', 'system') RETURNING tell(messages);
ROLLBACK;
-- A member of authenticated with claims that say otherwise.
BEGIN;
SET LOCAL ROLE authenticated;
SET LOCAL request.jwt.claims = '{"role": "service_role"}';
SELECT view();
SELECT try(format('INSERT INTO messages (conversation_id, content) VALUES (%L, ''SECRET'')', :'other'));
ROLLBACK;
-- Without a SET ROLE it has no privilege of its own.
SELECT try('SELECT FROM messages');

-- The way of authenticate().
\c - regress_mallory
\pset format unaligned
\pset tuples_only on
SELECT view();
SELECT openhr_msg.authenticate(:'bob_token')->>'sub';
SELECT view();
INSERT INTO messages (conversation_id, content) VALUES (:'group', 'by token') RETURNING tell(messages);
DELETE FROM conversation_participants WHERE conversation_id = :'pair' AND profile_id = :'bob' RETURNING right(profile_id::text, 2);
SELECT view();

-- Other names of the same tables.
SELECT try('SELECT FROM openhr_msg.messages_default');
SELECT DISTINCT left(try(format('SELECT FROM %s', relid)), 5) FROM pg_partition_tree('messages') WHERE isleaf;
SELECT try('SELECT FROM ONLY messages');
CREATE VIEW all_messages AS SELECT * FROM messages;
CREATE VIEW all_messages_as_caller WITH (security_invoker) AS SELECT * FROM messages;
SELECT count(*) FROM all_messages WHERE conversation_id = :'other';
SELECT count(*) FROM all_messages_as_caller WHERE conversation_id = :'other';
CREATE TABLE heir () INHERITS (messages);
CREATE TABLE mine (LIKE messages);
SELECT try('ALTER TABLE messages ATTACH PARTITION mine FOR VALUES FROM (''00000000-0000-0000-0000-000000000000'') TO (''00000000-0000-0000-0000-000000000001'')');
SELECT try('CREATE INDEX ON messages (id)');
SELECT try('CREATE TRIGGER spy BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()');
SELECT try('CREATE RULE spy AS ON INSERT TO messages DO ALSO SELECT 1');
SELECT try('CREATE POLICY everything ON messages USING (true)');
SELECT try('ALTER TABLE messages DISABLE ROW LEVEL SECURITY');
SELECT try('CREATE PUBLICATION spy FOR TABLE messages');
SELECT try('CREATE STATISTICS spy ON conversation_id, content FROM messages');
SELECT try('LOCK messages IN ACCESS EXCLUSIVE MODE');
SET client_min_messages = error;
ANALYZE messages;
RESET client_min_messages;
SELECT count(*) FROM pg_stats WHERE tablename ~ '^(messages|conversation)' AND schemaname IN ('public', 'openhr_msg');
SELECT try('SELECT FROM pg_statistic');
-- Only the codes: the servers' words differ.
SELECT left(try('SELECT FROM pg_logical_slot_get_changes(''openhr_msg'', NULL, NULL)'), 5);
SELECT left(try('SELECT pg_create_logical_replication_slot(''spy'', ''openhr_msg'')'), 5);

-- The setting that asks to do without row level security only refuses.
SET row_security = off;
SELECT try('SELECT FROM messages');
RESET row_security;

-- Functions and operators that tell what they are given.
CREATE FUNCTION leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN RAISE NOTICE 'leak: %', $1; RETURN true; END $$;
CREATE FUNCTION leak(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN RAISE NOTICE 'leak: %', $1; RETURN true; END $$;
CREATE OPERATOR public.<<<< (FUNCTION = leak, LEFTARG = text, RIGHTARG = text);
SELECT count(*) FROM messages WHERE leak(content);
SELECT count(*) FROM messages WHERE content <<<< 'x' AND seq < 3;
SELECT count(*) FROM conversations WHERE leak(title);
SELECT count(*) FROM messages WHERE 1 / (CASE WHEN content ~ 'SECRET' THEN 0 ELSE 1 END) = 1;
SELECT count(*) FROM messages m JOIN conversations c ON leak(c.title) AND c.id = m.conversation_id;
SELECT count(*) FROM messages TABLESAMPLE BERNOULLI (100) WHERE leak(content);
SELECT try('CREATE FUNCTION tight(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS ''SELECT true''');

-- Every kind of statement.
WITH all_of_them AS MATERIALIZED (SELECT * FROM messages) SELECT count(*) FROM all_of_them WHERE content ~ 'SECRET';
SELECT count(*) FROM messages WHERE id = :'secret';
SELECT count(*) FROM conversations WHERE id = :'other';
SELECT try(format('UPDATE messages SET metadata = NULL WHERE id = %L RETURNING content', :'secret'));
SELECT try(format('UPDATE conversation_participants SET role = ''admin'' WHERE conversation_id = %L', :'other'));
SELECT try(format('DELETE FROM conversation_participants WHERE conversation_id = %L', :'other'));
SELECT try(format('SELECT FROM messages WHERE conversation_id = %L FOR UPDATE', :'other'));
SELECT try(format('SELECT FROM messages WHERE conversation_id = %L FOR KEY SHARE', :'other'));
MERGE INTO messages m USING (SELECT :'secret'::uuid AS id) s ON m.id = s.id
WHEN MATCHED THEN UPDATE SET content = 'SECRET' WHEN NOT MATCHED THEN DO NOTHING;
SELECT try(format('MERGE INTO messages m USING (SELECT %L::uuid AS id) s ON m.id = s.id
	WHEN NOT MATCHED THEN INSERT (conversation_id, content) VALUES (%L, ''SECRET'')', :'secret', :'other'));
SELECT try(format('INSERT INTO conversation_participants (conversation_id, profile_id) VALUES (%L, %L) ON CONFLICT (conversation_id, profile_id) DO UPDATE SET role = ''admin'' RETURNING *', :'other', :'eve'));
SELECT try(format('INSERT INTO conversation_participants (conversation_id, profile_id) VALUES (%L, %L) ON CONFLICT DO NOTHING', :'other', :'eve'));
SELECT try(format('INSERT INTO messages (conversation_id, content) SELECT %L, content FROM messages WHERE conversation_id = %L', :'group', :'other'));
COPY (SELECT content FROM messages ORDER BY content) TO STDOUT;
COPY conversations (title) TO STDOUT;
\set VERBOSITY terse
COPY messages (conversation_id, content) FROM STDIN;
33333333-3333-3333-3333-333333333333	SECRET
\.
\set VERBOSITY default
CREATE TEMP TABLE copied AS SELECT * FROM messages;
SELECT count(*) FROM copied WHERE content ~ 'SECRET';
SELECT query_to_xml('SELECT content FROM messages ORDER BY content', true, true, '')::text !~ 'SECRET';
EXPLAIN (COSTS OFF) SELECT FROM openhr_msg.messages_default WHERE leak(content);

-- Functions by id.
SELECT try(format('SELECT openhr_msg.%s', call)) FROM (VALUES
	(format('get_conversation(%L)', :'other')), (format('list_messages(%L)', :'other')), (format('list_changes(%L, 0)', :'other')),
	(format('edit_message(%L, ''SECRET'')', :'secret')), (format('delete_message(%L)', :'secret')), (format('mark_read(%L)', :'other')),
	(format('archive_conversation(%L)', :'other')), (format('add_participant(%L, %L)', :'other', :'bob')),
	(format('remove_participant(%L, %L)', :'other', :'eve')), ('adopt_tables()'), ('create_partitions(1)'), ('stop_workers()')) AS calls (call);
SELECT openhr_msg.is_participant(:'other'), openhr_msg.is_participant(:'group'), openhr_msg.is_participant(NULL);

-- Tables and functions of her own with our names.
CREATE TEMP TABLE conversation_participants (LIKE public.conversation_participants);
INSERT INTO pg_temp.conversation_participants SELECT gen_random_uuid(), :'other', :'bob', 'admin', now(), now(), false, 0, 0;
CREATE TEMP TABLE messages (LIKE public.messages);
CREATE TEMP TABLE conversations (LIKE public.conversations);
SET search_path = pg_temp, public;
SELECT openhr_msg.is_participant(:'other');
SELECT count(*) FROM public.messages WHERE conversation_id = :'other';
SELECT try(format('SELECT openhr_msg.list_messages(%L)', :'other'));
SELECT content FROM openhr_msg.send_message(:'group', 'to the real table');
SELECT count(*) FROM pg_temp.messages;
DROP TABLE pg_temp.conversation_participants, pg_temp.messages, pg_temp.conversations;
RESET search_path;
-- Closer matches than the server's own functions, where the extension looks.
CREATE FUNCTION public.unnest(uuid[]) RETURNS SETOF uuid LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hijacked by %', current_user; RETURN; END $$;
CREATE FUNCTION public.hijack(bigint, uuid) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hijacked by %', current_user; RETURN 1; END $$;
CREATE AGGREGATE public.count(uuid) (SFUNC = hijack, STYPE = bigint, INITCOND = '0');
CREATE FUNCTION public.uuid_equal(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hijacked by %', current_user; RETURN true; END $$;
CREATE OPERATOR public.= (FUNCTION = uuid_equal, LEFTARG = uuid, RIGHTARG = uuid);
CREATE FUNCTION public.date_trunc(text, timestamptz, varchar) RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hijacked by %', current_user; RETURN now(); END $$;
CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hijacked by %', current_user; RETURN now(); END $$;
SET search_path = public, pg_catalog;
SELECT title FROM openhr_msg.create_conversation(ARRAY[:'eve']::uuid[], 'mine', 'group');
SELECT content FROM openhr_msg.send_message(:'group', 'still mine');
SELECT pg_catalog.count(*) FROM openhr_msg.list_conversations();
SELECT pg_catalog.count(*) FROM openhr_msg.list_messages(:'group');
INSERT INTO messages (conversation_id, content) VALUES (:'group', 'by hand') RETURNING content;
SELECT pg_catalog.count(*) FROM messages WHERE conversation_id OPERATOR(pg_catalog.=) :'other';
RESET search_path;
\c - :admin
SET client_min_messages = error;
DROP OWNED BY regress_mallory;
GRANT CREATE ON SCHEMA public TO regress_mallory;

-- Cursors and prepared statements from one identity to the next.
\c - regress_mallory
\pset format unaligned
\pset tuples_only on
PREPARE everything AS SELECT content FROM messages WHERE conversation_id <> '11111111-1111-1111-1111-111111111111' ORDER BY 1;
SET plan_cache_mode = force_generic_plan;
SELECT openhr_msg.authenticate(:'eve_token')->>'sub';
EXECUTE everything;
BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT left(content, 6) FROM messages WHERE conversation_id = '33333333-3333-3333-3333-333333333333';
FETCH 1 FROM c;
SELECT openhr_msg.authenticate(:'bob_token')->>'sub';
FETCH ALL FROM c;
EXECUTE everything;
COMMIT;
EXECUTE everything;
SELECT openhr_msg.authenticate(NULL);
EXECUTE everything;
SELECT openhr_msg.authenticate(:'service_token')->>'role';
EXECUTE everything;
SELECT view();
DISCARD ALL;

-- is_participant() remembers its last answer, but no longer than it holds.
\c - :admin
\set ECHO none
\pset format unaligned
\pset tuples_only on
SET openhr_msg.rate_limit = 0;
\set ECHO all
BEGIN;
SET LOCAL request.jwt.claims = '{"role": "authenticated", "sub": "00000000-0000-0000-0000-0000000000e5"}';
CREATE FUNCTION pg_temp.membership(come boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	claims text := current_setting('request.jwt.claims');
BEGIN
	PERFORM set_config('request.jwt.claims', '', true);
	IF come THEN
		INSERT INTO conversation_participants (conversation_id, profile_id)
		VALUES ('11111111-1111-1111-1111-111111111111', '00000000-0000-0000-0000-0000000000e5');
	ELSE
		DELETE FROM conversation_participants
		WHERE conversation_id = '11111111-1111-1111-1111-111111111111'
		AND profile_id = '00000000-0000-0000-0000-0000000000e5';
	END IF;
	PERFORM set_config('request.jwt.claims', claims, true);
END
$$;
DO $$
DECLARE
	is_in boolean := false;
	id CONSTANT uuid := '11111111-1111-1111-1111-111111111111';
BEGIN
	FOR n IN 1 .. 6 LOOP
		-- the same expression, each time in another world
		ASSERT openhr_msg.is_participant(id) = is_in, n;
		is_in := NOT is_in;
		PERFORM pg_temp.membership(is_in);
	END LOOP;
	PERFORM pg_temp.membership(false);
END
$$;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL request.jwt.claims = '{"role": "authenticated", "sub": "00000000-0000-0000-0000-0000000000a1"}';
DO $$
DECLARE
	leaves boolean;
	answers boolean[];
	talk CONSTANT uuid := '11111111-1111-1111-1111-111111111111';
BEGIN
	-- the first turn leaves, asks, and is undone; the others only ask
	FOR n IN 1 .. 3 LOOP
		BEGIN
			leaves := n = 1;
			IF leaves THEN
				DELETE FROM conversation_participants
				WHERE conversation_id = talk AND profile_id = openhr_msg.uid();
			END IF;
			answers := answers || openhr_msg.is_participant(talk);
			IF leaves THEN
				RAISE EXCEPTION 'undone';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
	END LOOP;
	RAISE NOTICE 'member? %', answers;
END
$$;
ROLLBACK;
-- From row to row the conversation changes, or the identity.
SET request.jwt.claims = '{"role": "authenticated", "sub": "00000000-0000-0000-0000-0000000000a1"}';
SELECT string_agg(openhr_msg.is_participant(id)::text, ' ' ORDER BY n)
FROM unnest(ARRAY[:'group', :'other', :'group', :'nobody', :'group']::uuid[]) WITH ORDINALITY AS ids (id, n);
SELECT set_config('request.jwt.claims', format('{"role": "authenticated", "sub": "%s"}', profile), false) IS NOT NULL,
	openhr_msg.is_participant(:'other')
FROM unnest(ARRAY[:'ann', :'eve', :'bob', :'cem', :'ann']) AS profile;

\set ECHO none
:as_owner
SET client_min_messages = error;
DROP OWNED BY regress_mallory, regress_web;
DROP ROLE regress_mallory, regress_web;
TRUNCATE conversations;
DELETE FROM profiles;
DROP FUNCTION answer, try, tell, view, make_token, sign_token, hmac_sha256, base64url;
