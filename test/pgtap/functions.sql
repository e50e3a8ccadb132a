-- The functions: names and arguments that other tools are written against,
-- and who may call them.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY TABLE interface (name text, arguments text, callers text[]);
INSERT INTO interface VALUES
	('authenticate', 'token text', '{anon,authenticated,service_role}'),
	('create_conversation', 'participants uuid[], title text, type text, match_id uuid', '{authenticated,service_role}'),
	('list_conversations', 'max integer, before timestamp with time zone, include_archived boolean', '{authenticated,service_role}'),
	('get_conversation', 'conversation_id uuid', '{authenticated,service_role}'),
	('archive_conversation', 'conversation_id uuid, archived boolean', '{authenticated,service_role}'),
	('add_participant', 'conversation_id uuid, profile_id uuid, role text', '{authenticated,service_role}'),
	('remove_participant', 'conversation_id uuid, profile_id uuid', '{authenticated,service_role}'),
	('send_message', 'conversation_id uuid, content text, content_type text, reply_to_message_id uuid, metadata jsonb, client_message_id text', '{authenticated,service_role}'),
	('list_messages', 'conversation_id uuid, max integer, before timestamp with time zone, before_seq bigint, after_seq bigint', '{authenticated,service_role}'),
	('list_changes', 'conversation_id uuid, since_version bigint, max integer, epoch text', '{authenticated,service_role}'),
	('epoch', '', '{authenticated,service_role}'),
	('edit_message', 'message_id uuid, content text, expected_version bigint', '{authenticated,service_role}'),
	('delete_message', 'message_id uuid, expected_version bigint', '{authenticated,service_role}'),
	('mark_read', 'conversation_id uuid, up_to_seq bigint', '{authenticated,service_role}'),
	('broadcast', 'topic text, event text, payload jsonb', '{authenticated,service_role}'),
	('report_message', 'message_id uuid, reason text, severity text', '{authenticated,service_role}'),
	('revoke_tokens', 'profile_id uuid', '{authenticated,service_role}'),
	('status', '', '{pg_monitor}'),
	('check_log_settings', '', '{pg_monitor}'),
	('read_stats', '', '{pg_monitor}'),
	('stop_workers', '', '{}'),
	('start_workers', '', '{}');

CREATE TEMPORARY TABLE found AS
SELECT p.oid, proname, prosecdef, proconfig, prolang,
	regexp_replace(pg_get_function_arguments(p.oid), ' DEFAULT [^,]*|OUT [^,]*,? ?', '', 'g') AS arguments
FROM pg_proc p
WHERE pronamespace = 'openhr_msg'::regnamespace;

SELECT is((SELECT array_agg(f.arguments) FROM found f WHERE f.proname = i.name),
	ARRAY[i.arguments], i.name || ' takes its named arguments')
FROM interface i
WHERE i.name NOT IN ('status', 'check_log_settings', 'read_stats');

-- Who may: those, and of the others nobody.
SELECT is(
	(SELECT coalesce(array_agg(role ORDER BY role), '{}')
	 FROM unnest(ARRAY['anon', 'authenticated', 'pg_monitor', 'service_role']) AS role
	 WHERE has_function_privilege(role, f.oid, 'EXECUTE')
	 AND role <> ALL (CASE WHEN i.name = 'authenticate' THEN ARRAY['pg_monitor'] ELSE '{}' END)),
	i.callers, i.name || ' may be called by those who should')
FROM interface i JOIN found f ON f.proname = i.name;

-- A function that acts with its owner's rights looks for nothing where its
-- caller may have put something.
SELECT is_empty($$
	SELECT proname FROM found
	WHERE prosecdef AND NOT EXISTS (
		SELECT FROM unnest(proconfig) AS c
		WHERE c LIKE 'search_path=pg_catalog%pg_temp')$$,
	'SECURITY DEFINER has a fixed search_path that ends in pg_temp');

SELECT * FROM finish();
ROLLBACK;
