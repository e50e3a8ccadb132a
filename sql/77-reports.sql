-- Reports of messages, for moderators.  src/reports.c.

CREATE TABLE openhr_msg.message_reports (
	id uuid DEFAULT openhr_msg.uuid_v7()
		CONSTRAINT message_reports_pkey PRIMARY KEY,
	message_id uuid NOT NULL,
	conversation_id uuid NOT NULL,
	reporter_profile_id uuid,
	reason text NOT NULL,
	severity text NOT NULL
		CONSTRAINT message_reports_severity_check
		CHECK (severity IN ('low', 'medium', 'high')),
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT message_reports_message_id_reporter_profile_id_key
		UNIQUE (message_id, reporter_profile_id)
);

CREATE INDEX message_reports_reporter_profile_id_idx
	ON openhr_msg.message_reports (reporter_profile_id);

COMMENT ON TABLE openhr_msg.message_reports IS
'messages that somebody has reported, for moderators to look at';
COMMENT ON COLUMN openhr_msg.message_reports.id IS
'by time: UUIDv7';
COMMENT ON COLUMN openhr_msg.message_reports.message_id IS
'the message';
COMMENT ON COLUMN openhr_msg.message_reports.conversation_id IS
'its conversation';
COMMENT ON COLUMN openhr_msg.message_reports.reporter_profile_id IS
'who reported it; null: a service';
COMMENT ON COLUMN openhr_msg.message_reports.reason IS
'in the reporter''s words';
COMMENT ON COLUMN openhr_msg.message_reports.severity IS
'low, medium or high';
COMMENT ON COLUMN openhr_msg.message_reports.created_at IS
'when it was reported first';

ALTER TABLE openhr_msg.message_reports ENABLE ROW LEVEL SECURITY;
ALTER TABLE openhr_msg.message_reports FORCE ROW LEVEL SECURITY;

SELECT openhr_msg.revoke_grants('openhr_msg.message_reports');
GRANT SELECT, UPDATE, DELETE ON openhr_msg.message_reports TO service_role;
SELECT pg_catalog.pg_extension_config_dump('openhr_msg.message_reports', '');

CREATE FUNCTION openhr_msg.report_message(
	message_id uuid,
	reason text,
	severity text DEFAULT 'medium')
RETURNS openhr_msg.message_reports
AS 'MODULE_PATHNAME', 'msg_report_message'
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.report_message(uuid, text, text) IS
'reports a message to the moderators; reporting it again changes the report';

REVOKE ALL ON FUNCTION openhr_msg.report_message(uuid, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION openhr_msg.report_message(uuid, text, text)
	TO authenticated, service_role;
