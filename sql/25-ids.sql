-- Ids that sort by the time at which they were made.

CREATE FUNCTION openhr_msg.uuid_v7()
RETURNS uuid
AS 'MODULE_PATHNAME', 'msg_uuid_v7_sql'
LANGUAGE C STRICT VOLATILE PARALLEL SAFE;

COMMENT ON FUNCTION openhr_msg.uuid_v7() IS
'new UUIDv7 of the present time, greater than the session''s earlier ones';

CREATE FUNCTION openhr_msg.uuid_v7_floor("time" timestamptz)
RETURNS uuid
AS 'MODULE_PATHNAME', 'msg_uuid_v7_floor_sql'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION openhr_msg.uuid_v7_floor(timestamptz) IS
'smallest UUIDv7 of a time''s millisecond; the months of messages meet at these';

GRANT EXECUTE ON FUNCTION
	openhr_msg.uuid_v7(), openhr_msg.uuid_v7_floor(timestamptz) TO PUBLIC;
