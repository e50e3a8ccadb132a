-- What holds for every row, however it is written: src/rules*.c.
--
-- The rules run as their owner, because a profile may not change the counters
-- of a conversation itself, and with a fixed search_path, for which each
-- trigger names the extension's schema; src/rules.c does both.  Who wrote the
-- row they find out by the session's identity.

CREATE FUNCTION openhr_msg.conversation_before_insert() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_conversation_before_insert'
LANGUAGE C;

CREATE FUNCTION openhr_msg.conversation_before_update() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_conversation_before_update'
LANGUAGE C;

CREATE FUNCTION openhr_msg.conversation_before_delete() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_conversation_before_delete'
LANGUAGE C;

CREATE FUNCTION openhr_msg.participant_before_insert() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_participant_before_insert'
LANGUAGE C;

CREATE FUNCTION openhr_msg.participant_before_update() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_participant_before_update'
LANGUAGE C;

CREATE FUNCTION openhr_msg.participant_before_delete() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_participant_before_delete'
LANGUAGE C;

CREATE FUNCTION openhr_msg.participant_after_delete() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_participant_after_delete'
LANGUAGE C;

CREATE FUNCTION openhr_msg.message_before_insert() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_message_before_insert'
LANGUAGE C;

CREATE FUNCTION openhr_msg.message_before_update() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_message_before_update'
LANGUAGE C;

CREATE FUNCTION openhr_msg.message_before_delete() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_message_before_delete'
LANGUAGE C;

CREATE FUNCTION openhr_msg.refuse_truncate() RETURNS trigger
AS 'MODULE_PATHNAME', 'msg_refuse_truncate'
LANGUAGE C SECURITY DEFINER
SET search_path = pg_catalog, @extschema@, pg_temp;

COMMENT ON FUNCTION openhr_msg.conversation_before_insert() IS
'rules for opening a conversation';
COMMENT ON FUNCTION openhr_msg.conversation_before_update() IS
'rules for changing a conversation';
COMMENT ON FUNCTION openhr_msg.conversation_before_delete() IS
'rules for deleting a conversation';
COMMENT ON FUNCTION openhr_msg.participant_before_insert() IS
'rules for adding a participant';
COMMENT ON FUNCTION openhr_msg.participant_before_update() IS
'rules for changing a participant';
COMMENT ON FUNCTION openhr_msg.participant_before_delete() IS
'rules for removing a participant';
COMMENT ON FUNCTION openhr_msg.participant_after_delete() IS
'gives a group that lost its last admin another one';
COMMENT ON FUNCTION openhr_msg.message_before_insert() IS
'rules for sending a message, and its place in the conversation';
COMMENT ON FUNCTION openhr_msg.message_before_update() IS
'rules for editing and deleting a message, and its next version';
COMMENT ON FUNCTION openhr_msg.message_before_delete() IS
'rules for deleting the row of a message';
COMMENT ON FUNCTION openhr_msg.refuse_truncate() IS
'row level security does not ask before TRUNCATE, this does';

CREATE TRIGGER conversation_before_insert
	BEFORE INSERT ON @extschema@.conversations
	FOR EACH ROW
	EXECUTE FUNCTION openhr_msg.conversation_before_insert('@extschema@');
CREATE TRIGGER conversation_before_update
	BEFORE UPDATE ON @extschema@.conversations
	FOR EACH ROW
	EXECUTE FUNCTION openhr_msg.conversation_before_update('@extschema@');
CREATE TRIGGER conversation_before_delete
	BEFORE DELETE ON @extschema@.conversations
	FOR EACH ROW
	EXECUTE FUNCTION openhr_msg.conversation_before_delete('@extschema@');

CREATE TRIGGER participant_before_insert
	BEFORE INSERT ON @extschema@.conversation_participants
	FOR EACH ROW
	EXECUTE FUNCTION openhr_msg.participant_before_insert('@extschema@');
CREATE TRIGGER participant_before_update
	BEFORE UPDATE ON @extschema@.conversation_participants
	FOR EACH ROW
	EXECUTE FUNCTION openhr_msg.participant_before_update('@extschema@');
CREATE TRIGGER participant_before_delete
	BEFORE DELETE ON @extschema@.conversation_participants
	FOR EACH ROW
	EXECUTE FUNCTION openhr_msg.participant_before_delete('@extschema@');
CREATE TRIGGER participant_after_delete
	AFTER DELETE ON @extschema@.conversation_participants
	FOR EACH ROW
	EXECUTE FUNCTION openhr_msg.participant_after_delete('@extschema@');

CREATE TRIGGER message_before_insert
	BEFORE INSERT ON @extschema@.messages
	FOR EACH ROW
	EXECUTE FUNCTION openhr_msg.message_before_insert('@extschema@');
CREATE TRIGGER message_before_update
	BEFORE UPDATE ON @extschema@.messages
	FOR EACH ROW
	EXECUTE FUNCTION openhr_msg.message_before_update('@extschema@');
CREATE TRIGGER message_before_delete
	BEFORE DELETE ON @extschema@.messages
	FOR EACH ROW
	EXECUTE FUNCTION openhr_msg.message_before_delete('@extschema@');

CREATE TRIGGER refuse_truncate
	BEFORE TRUNCATE ON @extschema@.conversations
	FOR EACH STATEMENT EXECUTE FUNCTION openhr_msg.refuse_truncate();
CREATE TRIGGER refuse_truncate
	BEFORE TRUNCATE ON @extschema@.conversation_participants
	FOR EACH STATEMENT EXECUTE FUNCTION openhr_msg.refuse_truncate();
CREATE TRIGGER refuse_truncate
	BEFORE TRUNCATE ON @extschema@.messages
	FOR EACH STATEMENT EXECUTE FUNCTION openhr_msg.refuse_truncate();

COMMENT ON TRIGGER conversation_before_insert ON @extschema@.conversations IS
'rules for opening a conversation';
COMMENT ON TRIGGER conversation_before_update ON @extschema@.conversations IS
'rules for changing a conversation';
COMMENT ON TRIGGER conversation_before_delete ON @extschema@.conversations IS
'rules for deleting a conversation';
COMMENT ON TRIGGER participant_before_insert
	ON @extschema@.conversation_participants IS
'rules for adding a participant';
COMMENT ON TRIGGER participant_before_update
	ON @extschema@.conversation_participants IS
'rules for changing a participant';
COMMENT ON TRIGGER participant_before_delete
	ON @extschema@.conversation_participants IS
'rules for removing a participant';
COMMENT ON TRIGGER participant_after_delete
	ON @extschema@.conversation_participants IS
'gives a group that lost its last admin another one';
COMMENT ON TRIGGER message_before_insert ON @extschema@.messages IS
'rules for sending a message, and its place in the conversation';
COMMENT ON TRIGGER message_before_update ON @extschema@.messages IS
'rules for editing and deleting a message, and its next version';
COMMENT ON TRIGGER message_before_delete ON @extschema@.messages IS
'rules for deleting the row of a message';
COMMENT ON TRIGGER refuse_truncate ON @extschema@.conversations IS
'only services';
COMMENT ON TRIGGER refuse_truncate ON @extschema@.conversation_participants IS
'only services';
COMMENT ON TRIGGER refuse_truncate ON @extschema@.messages IS
'only services';

REVOKE ALL ON FUNCTION
	openhr_msg.conversation_before_insert(),
	openhr_msg.conversation_before_update(),
	openhr_msg.conversation_before_delete(),
	openhr_msg.participant_before_insert(),
	openhr_msg.participant_before_update(),
	openhr_msg.participant_before_delete(),
	openhr_msg.participant_after_delete(),
	openhr_msg.message_before_insert(),
	openhr_msg.message_before_update(),
	openhr_msg.message_before_delete(),
	openhr_msg.refuse_truncate()
FROM PUBLIC;
