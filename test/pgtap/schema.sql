-- The schema is the one of the document, with what order and resume need.

BEGIN;
SELECT no_plan();

SELECT has_extension('openhr_msg');
SELECT has_schema('openhr_msg');
-- The document's columns, by table.
SELECT columns_are('public', t::name, c::name[]) FROM (VALUES
	('conversations', ARRAY['id', 'created_by', 'title', 'type', 'match_id',
		'is_archived', 'created_at', 'updated_at', 'last_seq',
		'last_version']),
	('conversation_participants', ARRAY['id', 'conversation_id', 'profile_id',
		'role', 'joined_at', 'last_read_at', 'is_muted', 'last_read_seq']),
	('messages', ARRAY['id', 'conversation_id', 'sender_profile_id',
		'content', 'content_type', 'metadata', 'created_at', 'updated_at',
		'is_edited', 'is_deleted', 'reply_to_message_id', 'delivered_at',
		'read_at', 'client_message_id', 'seq', 'version'])) AS v (t, c);

SELECT col_type_is('public'::name, t::name, c::name, y) FROM (VALUES
	('conversations', 'id', 'uuid'),
	('conversations', 'last_seq', 'bigint'),
	('conversation_participants', 'last_read_seq', 'bigint'),
	('messages', 'id', 'uuid'),
	('messages', 'metadata', 'jsonb'),
	('messages', 'created_at', 'timestamp with time zone'),
	('messages', 'seq', 'bigint'),
	('messages', 'version', 'bigint')) AS v (t, c, y);

SELECT is_partitioned('public', 'messages', 'messages are partitioned');
SELECT col_is_pk('public', 'conversations', 'id', 'the id is the key');
SELECT col_is_unique('public', 'conversation_participants',
	ARRAY['conversation_id', 'profile_id'], 'a profile takes part once');
SELECT col_is_pk('openhr_msg', 'messages_default', 'id',
	'the id is the key of a partition');

-- Row level security holds for every table, also for its owner.
SELECT is(relrowsecurity AND relforcerowsecurity, true,
		  format('%s forces row level security', oid::regclass))
FROM pg_class
WHERE relkind IN ('r', 'p') AND relpersistence <> 't'
AND oid IN ('conversations'::regclass, 'conversation_participants'::regclass,
			'messages'::regclass, 'openhr_msg.messages_default'::regclass,
			'openhr_msg.client_messages'::regclass);

SELECT policies_are('public', t::name, p::name[]) FROM (VALUES
	('conversations', ARRAY['conversation_visibility', 'conversation_opening',
		'conversation_change']),
	('conversation_participants', ARRAY['participant_visibility',
		'participant_addition', 'participant_change',
		'participant_removal']),
	('messages', ARRAY['message_visibility', 'message_sending',
		'message_change'])) AS v (t, p);

-- What clients call.
SELECT has_function('openhr_msg', f::name, a::name[]) FROM (VALUES
	('authenticate', ARRAY['text']),
	('create_conversation', ARRAY['uuid[]', 'text', 'text', 'uuid']),
	('list_conversations', ARRAY['integer', 'timestamp with time zone',
		'boolean']),
	('get_conversation', ARRAY['uuid']),
	('archive_conversation', ARRAY['uuid', 'boolean']),
	('add_participant', ARRAY['uuid', 'uuid', 'text']),
	('remove_participant', ARRAY['uuid', 'uuid']),
	('send_message', ARRAY['uuid', 'text', 'text', 'uuid', 'jsonb', 'text']),
	('list_messages', ARRAY['uuid', 'integer', 'timestamp with time zone',
		'bigint', 'bigint']),
	('list_changes', ARRAY['uuid', 'bigint', 'integer']),
	('edit_message', ARRAY['uuid', 'text']),
	('delete_message', ARRAY['uuid']),
	('mark_read', ARRAY['uuid', 'bigint'])) AS v (f, a);

-- PUBLIC may say who it is, and run what the tables' defaults and checks call.
SELECT bag_eq(
	$$SELECT p.oid::regprocedure::text FROM pg_proc p
	JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass
	AND d.deptype = 'e' AND d.refobjid =
	(SELECT oid FROM pg_extension WHERE extname = 'openhr_msg')
	WHERE has_function_privilege('public', p.oid, 'EXECUTE')
	AND pronamespace = 'openhr_msg'::regnamespace$$,
	$$VALUES ('openhr_msg.authenticate(text)'), ('openhr_msg.uid()'),
	('openhr_msg.is_content_type(text)'),
	('openhr_msg.is_conversation_type(text)'),
	('openhr_msg.is_participant_role(text)'),
	('openhr_msg.uuid_v7()'),
	('openhr_msg.uuid_v7_floor(timestamp with time zone)')$$,
	'PUBLIC may execute these and no others');

-- Every object says what it is for.
SELECT is_empty($$
	SELECT pg_describe_object(classid, objid, 0) FROM pg_depend
	WHERE deptype = 'e' AND refobjid =
	(SELECT oid FROM pg_extension WHERE extname = 'openhr_msg')
	AND coalesce(obj_description(objid, classid::regclass::name), '') = ''
	AND pg_describe_object(classid, objid, 0) !~ '^type .*(\[\]|openhr_msg\.[a-z_]+|conversations|conversation_participants|messages)$'
	$$, 'every object of the extension has a comment');

SELECT * FROM finish();
ROLLBACK;
