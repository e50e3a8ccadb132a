-- The tables, and what ties them together.
--
-- In databases of their own, each with other things in it before.
\set home :DBNAME
-- It differs between the servers' versions.
\set SHOW_CONTEXT never
SET client_min_messages = error;
CREATE DATABASE regress_schema TEMPLATE template0 ENCODING 'UTF8';
\c regress_schema
SET client_min_messages = error;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
CREATE EXTENSION openhr_msg;

\d conversations
\d conversation_participants
\d messages
\d openhr_msg.messages_default
\d openhr_msg.client_messages
\d profiles
\d matches

-- Every object has a comment.
SELECT pg_describe_object(classid, objid, 0) AS undocumented
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'openhr_msg')
AND obj_description(objid, (SELECT relname FROM pg_class WHERE oid = classid))
	IS NULL
AND NOT EXISTS (SELECT FROM pg_type WHERE classid = 'pg_type'::regclass
	AND pg_type.oid = objid AND (typrelid <> 0 OR typelem <> 0))
ORDER BY 1;
SELECT attrelid::regclass || '.' || attname AS undocumented
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
AND relnamespace IN ('public'::regnamespace, 'openhr_msg'::regnamespace)
AND NOT relispartition
AND col_description(attrelid, attnum) IS NULL
ORDER BY 1;

-- What a dump takes the rows of.
SELECT unnest(extconfig)::regclass AS dumped, unnest(extcondition) AS condition
FROM pg_extension WHERE extname = 'openhr_msg' ORDER BY 1;

-- What foreign keys would do.  First, all that there is.  (The plans of a
-- procedure are all made before it opens the first conversation, and that
-- makes a month which they would not read.)
DO 'BEGIN PERFORM openhr_msg.create_partitions(0, true); END';
CREATE VIEW contents AS
SELECT (SELECT count(*) FROM conversations) AS conversations,
	(SELECT count(created_by) FROM conversations) AS creators,
	(SELECT count(match_id) FROM conversations) AS matches,
	(SELECT count(*) FROM conversation_participants) AS participants,
	(SELECT count(*) FROM messages) AS messages,
	(SELECT count(sender_profile_id) FROM messages) AS senders,
	(SELECT count(*) FROM openhr_msg.client_messages) AS keys;
CREATE PROCEDURE fill() LANGUAGE sql AS $$
INSERT INTO profiles (id) SELECT md5('p' || n)::uuid
	FROM generate_series(1, 3) n;
INSERT INTO matches (id) VALUES (md5('m')::uuid);
INSERT INTO conversations (id, created_by, match_id, type)
	SELECT md5('c' || n)::uuid, md5('p1')::uuid, md5('m')::uuid, 'group'
	FROM generate_series(1, 2) n;
INSERT INTO conversation_participants (conversation_id, profile_id)
	SELECT md5('c' || c)::uuid, md5('p' || p)::uuid
	FROM generate_series(1, 2) c, generate_series(1, 3) p;
INSERT INTO messages (conversation_id, sender_profile_id, content,
					  client_message_id)
	SELECT conversation_id, profile_id, 'hello', 'key'
	FROM conversation_participants;
INSERT INTO openhr_msg.client_messages
	SELECT conversation_id, sender_profile_id, client_message_id, id, ''
	FROM messages;
$$;
CALL fill();
TABLE contents;

-- A deleted match, a deleted profile, a deleted conversation, all of them.
DELETE FROM matches;
TABLE contents;
DELETE FROM profiles WHERE id = md5('p1')::uuid;
TABLE contents;
SELECT count(*) AS stale FROM messages JOIN conversations c
	ON c.id = conversation_id
WHERE sender_profile_id IS NULL AND version < 4;
DELETE FROM conversations WHERE id = md5('c1')::uuid;
TABLE contents;
TRUNCATE conversations;
TABLE contents;

-- Whoever may delete a profile need not be allowed what follows from it.
TRUNCATE profiles, matches;
CALL fill();
GRANT DELETE, SELECT ON profiles TO authenticated;
CREATE POLICY own ON profiles USING (id = openhr_msg.uid());
SELECT set_config('request.jwt.claims', json_build_object('role',
	'authenticated', 'sub', md5('p2')::uuid)::text, false) \g /dev/null
SET ROLE authenticated;
DELETE FROM profiles;
RESET ROLE;
RESET request.jwt.claims;
TABLE contents;

-- A participant needs a conversation and a profile.
INSERT INTO conversation_participants (conversation_id, profile_id)
	VALUES (md5('c3')::uuid, md5('p1')::uuid);
INSERT INTO conversation_participants (conversation_id, profile_id)
	VALUES (md5('c1')::uuid, md5('p4')::uuid);
INSERT INTO conversation_participants (conversation_id, profile_id)
	VALUES (md5('c1')::uuid, md5('p1')::uuid);
BEGIN;
DELETE FROM conversation_participants;
INSERT INTO conversation_participants (conversation_id, profile_id)
	VALUES (md5('c1')::uuid, md5('p1')::uuid);
ROLLBACK;

-- The profiles are needed, and tied to the conversations once.
SELECT openhr_msg.adopt_tables();
SELECT tgrelid::regclass, tgfoid::regproc, tgisinternal FROM pg_trigger
WHERE tgrelid IN ('profiles'::regclass, 'matches'::regclass)
ORDER BY tgrelid::regclass::text, tgname;
SELECT refobjid::regclass AS needed, deptype FROM pg_depend
WHERE classid = 'pg_extension'::regclass AND refclassid = 'pg_class'::regclass
ORDER BY refobjid::regclass::text;
\set VERBOSITY terse
DROP TABLE profiles;
\set VERBOSITY default

-- They stay when the extension goes, and everything else goes.
DROP POLICY own ON profiles;
DROP PROCEDURE fill;
DROP VIEW contents;
DROP EXTENSION openhr_msg;
SELECT c.oid::regclass FROM pg_class c
WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i' ORDER BY relname;
SELECT nspname FROM pg_namespace WHERE nspname IN ('auth', 'openhr_msg');
SELECT tgname FROM pg_trigger WHERE NOT tgname LIKE 'RI_%';
CREATE EXTENSION openhr_msg;
SELECT count(*) FROM profiles;
DROP EXTENSION openhr_msg;

-- Profiles and matches that cannot be referred to.
DROP TABLE profiles, matches;
CREATE TABLE profiles (id bigint PRIMARY KEY);
CREATE EXTENSION openhr_msg;
DROP TABLE profiles;
CREATE TABLE matches (profile uuid PRIMARY KEY);
CREATE EXTENSION openhr_msg;
DROP TABLE matches;
CREATE VIEW profiles AS SELECT gen_random_uuid() AS id;
CREATE EXTENSION openhr_msg;
SELECT to_regclass('conversations'), to_regnamespace('openhr_msg');

-- Beside them, in another schema.
CREATE SCHEMA "a chat";
CREATE EXTENSION openhr_msg SCHEMA "a chat";
SELECT c.oid::regclass FROM pg_class c
WHERE relnamespace = '"a chat"'::regnamespace AND relkind IN ('r', 'p')
ORDER BY relname;
INSERT INTO "a chat".profiles (id) VALUES (md5('p1')::uuid);
SELECT seq FROM openhr_msg.send_message((SELECT id
	FROM openhr_msg.create_conversation(ARRAY[md5('p1')::uuid],
										type => 'system')), 'hello');
DELETE FROM "a chat".profiles;
SELECT count(*) FROM "a chat".conversation_participants;
DELETE FROM "a chat".conversations;
SELECT count(*) FROM "a chat".messages;
DROP EXTENSION openhr_msg;

-- Those of somebody else, who may hide their rows, but whose code gets no
-- power by it, whatever becomes of the table.
DROP VIEW profiles;
CREATE ROLE regress_landlord;
GRANT CREATE ON SCHEMA public TO regress_landlord;
SET ROLE regress_landlord;
CREATE TABLE profiles (id uuid PRIMARY KEY);
INSERT INTO profiles VALUES (md5('p1')::uuid);
ALTER TABLE profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE profiles FORCE ROW LEVEL SECURITY;
SELECT count(*) FROM profiles;
RESET ROLE;
CREATE EXTENSION openhr_msg;
SELECT type FROM openhr_msg.create_conversation(ARRAY[md5('p1')::uuid], type => 'system');
SET ROLE regress_landlord;
ALTER TABLE profiles RENAME TO people;
CREATE VIEW profiles AS SELECT id FROM people
WHERE current_user = 'regress_landlord' AND set_config('search_path', '', false) = '';
RESET ROLE;
SELECT type FROM openhr_msg.create_conversation(ARRAY[md5('p1')::uuid], type => 'system');
SET ROLE regress_landlord;
DROP VIEW profiles;
ALTER TABLE people RENAME TO profiles;
ALTER TABLE profiles DROP COLUMN id, ADD COLUMN id bigint DEFAULT 1;
RESET ROLE;
DELETE FROM profiles;
DROP EXTENSION openhr_msg;
DROP OWNED BY regress_landlord;
DROP ROLE regress_landlord;

\c :home
DROP DATABASE regress_schema;
