-- The words that a column may hold.
--
-- Functions, because the server reads and compiles a CHECK anew for each
-- statement: the list of an IN would be a sixth of what a message costs.

CREATE FUNCTION openhr_msg.is_conversation_type(word text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'msg_is_conversation_type'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION openhr_msg.is_conversation_type(text) IS
'one_to_one, group or system';

CREATE FUNCTION openhr_msg.is_participant_role(word text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'msg_is_participant_role'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION openhr_msg.is_participant_role(text) IS
'member or admin';

CREATE FUNCTION openhr_msg.is_content_type(word text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'msg_is_content_type'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION openhr_msg.is_content_type(text) IS
'text, system, suggested or attachment';

GRANT EXECUTE ON FUNCTION
	openhr_msg.is_conversation_type(text),
	openhr_msg.is_participant_role(text),
	openhr_msg.is_content_type(text)
TO PUBLIC;
