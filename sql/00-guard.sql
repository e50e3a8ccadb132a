-- openhr_msg: realtime messaging inside PostgreSQL
--
-- This file is one of the install script's topics; see Makefile.

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION openhr_msg" to load this file. \quit

-- Others may have made functions in the extension's schema; none of them is
-- called by this script because it matches better than the server's own.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Fail before anything is made when the server cannot run what follows.
CREATE SCHEMA openhr_msg;

COMMENT ON SCHEMA openhr_msg IS
'realtime messaging: functions, helper tables and the months of messages';

REVOKE ALL ON SCHEMA openhr_msg FROM PUBLIC;

CREATE FUNCTION openhr_msg.check_server()
RETURNS void
AS 'MODULE_PATHNAME', 'msg_check_server'
LANGUAGE C STRICT;

SELECT openhr_msg.check_server();

DROP FUNCTION openhr_msg.check_server();
