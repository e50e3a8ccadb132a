-- The schema that the document asks for, as its reader would look for it.
BEGIN;
SELECT no_plan();

SELECT has_table('public', name, 'table ' || name)
FROM unnest(ARRAY['profiles', 'matches', 'conversations', 'conversation_participants', 'messages']) AS name;

-- Each column of the document with its type.
SELECT col_type_is('public', table_name, column_name, type,
	format('%s.%s is %s', table_name, column_name, type))
FROM (VALUES
	('conversations', 'id', 'uuid'),
	('conversations', 'created_by', 'uuid'),
	('conversations', 'title', 'text'),
	('conversations', 'type', 'text'),
	('conversations', 'match_id', 'uuid'),
	('conversations', 'is_archived', 'boolean'),
	('conversations', 'created_at', 'timestamp with time zone'),
	('conversations', 'updated_at', 'timestamp with time zone'),
	('conversation_participants', 'id', 'uuid'),
	('conversation_participants', 'conversation_id', 'uuid'),
	('conversation_participants', 'profile_id', 'uuid'),
	('conversation_participants', 'role', 'text'),
	('conversation_participants', 'joined_at', 'timestamp with time zone'),
	('conversation_participants', 'last_read_at', 'timestamp with time zone'),
	('conversation_participants', 'is_muted', 'boolean'),
	('messages', 'id', 'uuid'),
	('messages', 'conversation_id', 'uuid'),
	('messages', 'sender_profile_id', 'uuid'),
	('messages', 'content', 'text'),
	('messages', 'content_type', 'text'),
	('messages', 'metadata', 'jsonb'),
	('messages', 'created_at', 'timestamp with time zone'),
	('messages', 'updated_at', 'timestamp with time zone'),
	('messages', 'is_edited', 'boolean'),
	('messages', 'is_deleted', 'boolean'),
	('messages', 'reply_to_message_id', 'uuid'),
	('messages', 'delivered_at', 'timestamp with time zone'),
	('messages', 'read_at', 'timestamp with time zone'))
	AS document (table_name, column_name, type);

-- What the document leaves open and an order of messages needs.
SELECT col_type_is('public', table_name, column_name, 'bigint',
	format('%s.%s counts', table_name, column_name))
FROM (VALUES
	('conversations', 'last_seq'),
	('conversations', 'last_version'),
	('conversation_participants', 'last_read_seq'),
	('conversation_participants', 'last_delivered_seq'),
	('messages', 'seq'),
	('messages', 'version')) AS counters (table_name, column_name);

SELECT col_not_null('public', 'messages', name, 'every message has its ' || name)
FROM unnest(ARRAY['id', 'conversation_id', 'content', 'content_type', 'created_at', 'seq', 'version']) AS name;

SELECT col_is_pk('public', 'conversations', 'id', 'key of conversations');
SELECT col_is_pk('public', 'conversation_participants', 'id', 'key of participants');
SELECT col_is_unique('public', 'conversation_participants',
	ARRAY['conversation_id', 'profile_id'], 'nobody takes part twice');
SELECT is_partitioned('public', 'messages', 'messages has partitions');

-- Words that a column takes, and no others.
SELECT throws_ok($$INSERT INTO conversations (type) VALUES ('chat')$$, '22023', NULL,
	'a type of conversation that is none');
SELECT throws_ok($$INSERT INTO messages (conversation_id, content, content_type)
	SELECT id, 'x', 'video' FROM openhr_msg.create_conversation(ARRAY[gen_random_uuid()], type => 'group')$$,
	NULL, NULL, 'a type of content that is none');

-- Row level security: on, forced, and with the document's policies.
SELECT ok(relrowsecurity AND relforcerowsecurity, relname || ' has forced row level security')
FROM pg_class
WHERE oid IN ('conversations'::regclass, 'conversation_participants'::regclass,
	'messages'::regclass, 'openhr_msg.messages_default'::regclass)
ORDER BY relname;
SELECT policy_cmd_is('public', 'conversations', 'conversation_visibility', 'select',
	'conversation_visibility is about reading');
SELECT policy_cmd_is('public', 'messages', 'message_visibility', 'select',
	'message_visibility is about reading');

-- The identity that the document's policies ask for.
SELECT has_function('auth', 'uid', ARRAY[]::text[], 'auth.uid()');
SELECT function_returns('auth', 'uid', ARRAY[]::text[], 'uuid', 'auth.uid() returns a profile');
SELECT is(auth.uid(), NULL, 'nobody has said who he is');

SELECT * FROM finish();
ROLLBACK;
