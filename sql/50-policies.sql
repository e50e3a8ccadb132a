-- Who sees which row.
--
-- One function answers for all three tables.  It reads the participants as
-- its owner, past the policies, so that no policy reads a table whose policy
-- it is.  (A row must be visible to be returned by the INSERT that makes it,
-- which is why two policies say more.)  The rules of writing stand in
-- triggers; the policies only have to keep a statement away from rows that its
-- writer cannot see.

CREATE FUNCTION openhr_msg.is_participant(conversation_id uuid)
RETURNS boolean
AS 'MODULE_PATHNAME', 'msg_is_participant'
LANGUAGE C STABLE STRICT PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.is_participant(uuid) IS
'does the profile that this session acts for take part in the conversation?';

CREATE FUNCTION openhr_msg.is_deserted(conversation_id uuid)
RETURNS boolean
AS 'MODULE_PATHNAME', 'msg_is_deserted'
LANGUAGE C STABLE STRICT PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.is_deserted(uuid) IS
'does nobody take part in the conversation?';

REVOKE ALL ON FUNCTION
	openhr_msg.is_participant(uuid), openhr_msg.is_deserted(uuid)
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	openhr_msg.is_participant(uuid), openhr_msg.is_deserted(uuid)
	TO anon, authenticated, service_role;

ALTER TABLE @extschema@.conversations ENABLE ROW LEVEL SECURITY;
ALTER TABLE @extschema@.conversations FORCE ROW LEVEL SECURITY;
ALTER TABLE @extschema@.conversation_participants ENABLE ROW LEVEL SECURITY;
ALTER TABLE @extschema@.conversation_participants FORCE ROW LEVEL SECURITY;
ALTER TABLE @extschema@.messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE @extschema@.messages FORCE ROW LEVEL SECURITY;
ALTER TABLE openhr_msg.client_messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE openhr_msg.client_messages FORCE ROW LEVEL SECURITY;

CREATE POLICY conversation_visibility ON @extschema@.conversations
	FOR SELECT USING (openhr_msg.is_participant(id)
					  OR (created_by = openhr_msg.uid()
						  AND openhr_msg.is_deserted(id)));
CREATE POLICY conversation_opening ON @extschema@.conversations
	FOR INSERT WITH CHECK (created_by = openhr_msg.uid());
CREATE POLICY conversation_change ON @extschema@.conversations
	FOR UPDATE USING (openhr_msg.is_participant(id));

CREATE POLICY participant_visibility ON @extschema@.conversation_participants
	FOR SELECT USING (profile_id = openhr_msg.uid()
					  OR openhr_msg.is_participant(conversation_id));
CREATE POLICY participant_addition ON @extschema@.conversation_participants
	FOR INSERT WITH CHECK (openhr_msg.uid() IS NOT NULL);
CREATE POLICY participant_change ON @extschema@.conversation_participants
	FOR UPDATE USING (openhr_msg.is_participant(conversation_id));
CREATE POLICY participant_removal ON @extschema@.conversation_participants
	FOR DELETE USING (openhr_msg.is_participant(conversation_id));

CREATE POLICY message_visibility ON @extschema@.messages
	FOR SELECT USING (openhr_msg.is_participant(conversation_id));
CREATE POLICY message_sending ON @extschema@.messages
	FOR INSERT WITH CHECK (sender_profile_id = openhr_msg.uid());
CREATE POLICY message_change ON @extschema@.messages
	FOR UPDATE USING (openhr_msg.is_participant(conversation_id));

COMMENT ON POLICY conversation_visibility ON @extschema@.conversations IS
'participants see it; who opened it, as long as there are none';
COMMENT ON POLICY conversation_opening ON @extschema@.conversations IS
'everybody may open one, in the own name';
COMMENT ON POLICY conversation_change ON @extschema@.conversations IS
'participants; the trigger says who of them';
COMMENT ON POLICY participant_visibility
	ON @extschema@.conversation_participants IS
'participants see each other';
COMMENT ON POLICY participant_addition
	ON @extschema@.conversation_participants IS
'profiles; the trigger says who of them';
COMMENT ON POLICY participant_change
	ON @extschema@.conversation_participants IS
'participants; the trigger says who of them';
COMMENT ON POLICY participant_removal
	ON @extschema@.conversation_participants IS
'participants; the trigger says who of them';
COMMENT ON POLICY message_visibility ON @extschema@.messages IS
'participants of the conversation see it';
COMMENT ON POLICY message_sending ON @extschema@.messages IS
'everybody, in the own name; the trigger asks for a participant';
COMMENT ON POLICY message_change ON @extschema@.messages IS
'participants; the trigger says who of them';

GRANT SELECT ON @extschema@.conversations,
	@extschema@.conversation_participants, @extschema@.messages
	TO authenticated;
GRANT INSERT (created_by, title, type, match_id), UPDATE (title, is_archived)
	ON @extschema@.conversations TO authenticated;
GRANT INSERT (conversation_id, profile_id, role),
	UPDATE (role, is_muted, last_read_seq), DELETE
	ON @extschema@.conversation_participants TO authenticated;
GRANT INSERT (conversation_id, sender_profile_id, content, content_type,
		metadata, reply_to_message_id, client_message_id),
	UPDATE (content, metadata, is_deleted)
	ON @extschema@.messages TO authenticated;

GRANT SELECT, INSERT, UPDATE, DELETE ON @extschema@.conversations,
	@extschema@.conversation_participants, @extschema@.messages
	TO service_role;
