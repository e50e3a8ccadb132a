-- The background workers: what they do, and sending them away.

CREATE FUNCTION openhr_msg.status(
	OUT worker text,
	OUT gateway integer,
	OUT number integer,
	OUT pid integer,
	OUT state text,
	OUT since timestamptz,
	OUT connections bigint,
	OUT channels bigint,
	OUT events bigint,
	OUT wakeups bigint,
	OUT "position" pg_lsn)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'msg_status'
LANGUAGE C VOLATILE STRICT ROWS 4
SET search_path = pg_catalog;

COMMENT ON FUNCTION openhr_msg.status() IS
'one row for each background worker of the server: its state (down, stopped, waiting for database or extension, starting, running), since when the process lives, a gateway''s open connections and joined channels, events or calls served, turns of its loop, and the WAL position that it has done';

CREATE FUNCTION openhr_msg.slot_epoch()
RETURNS bigint
AS 'MODULE_PATHNAME', 'msg_slot_epoch'
LANGUAGE C VOLATILE STRICT
SET search_path = pg_catalog;

COMMENT ON FUNCTION openhr_msg.slot_epoch() IS
'how many times since the server started the replication slot was made or dropped; clients catch up from the tables each time';

CREATE VIEW openhr_msg.slot_status AS
	SELECT slot_name, database, active_pid,
		   confirmed_flush_lsn AS confirmed,
		   pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(),
									  restart_lsn)::bigint AS lag_bytes,
		   pg_catalog.pg_size_bytes(pg_catalog.current_setting(
				'openhr_msg.max_slot_lag')) AS max_lag_bytes,
		   wal_status,
		   openhr_msg.slot_epoch() AS epoch
	FROM pg_catalog.pg_replication_slots
	WHERE slot_name = 'openhr_msg';

COMMENT ON VIEW openhr_msg.slot_status IS
'the replication slot that the workers read from: how much WAL it holds back, and how much it may hold back before it is dropped and made anew';

CREATE FUNCTION openhr_msg.read_stats(
	OUT metric text,
	OUT labels jsonb,
	OUT value double precision,
	OUT type text,
	OUT help text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'msg_stats'
LANGUAGE C VOLATILE STRICT ROWS 200
SET search_path = pg_catalog;

COMMENT ON FUNCTION openhr_msg.read_stats() IS
'the rows of view stats';

CREATE VIEW openhr_msg.stats AS
	SELECT metric, labels, value, type, help FROM openhr_msg.read_stats();

COMMENT ON VIEW openhr_msg.stats IS
'what the workers of the server have counted and measured since it started, and what is so now: a row for each number, by the names, labels, types and explanations with which a gateway tells them to Prometheus at /metrics';

CREATE FUNCTION openhr_msg.stop_workers()
RETURNS void
AS 'MODULE_PATHNAME', 'msg_stop_workers'
LANGUAGE C VOLATILE STRICT
SET search_path = pg_catalog;

COMMENT ON FUNCTION openhr_msg.stop_workers() IS
'sends all workers out of the database, so that it can be dropped, renamed or used as a template; returns when they have left. Takes effect at once, also in a transaction that is rolled back, for the whole server, until start_workers() or a restart of the server';

CREATE FUNCTION openhr_msg.start_workers()
RETURNS void
AS 'MODULE_PATHNAME', 'msg_start_workers'
LANGUAGE C VOLATILE STRICT
SET search_path = pg_catalog;

COMMENT ON FUNCTION openhr_msg.start_workers() IS
'lets the workers return to the database after stop_workers(); does not wait for them';

REVOKE ALL ON FUNCTION openhr_msg.status(), openhr_msg.slot_epoch(),
	openhr_msg.read_stats(),
	openhr_msg.stop_workers(), openhr_msg.start_workers() FROM PUBLIC;
SELECT openhr_msg.revoke_grants('openhr_msg.slot_status');
SELECT openhr_msg.revoke_grants('openhr_msg.stats');
GRANT EXECUTE ON FUNCTION openhr_msg.status(), openhr_msg.slot_epoch(),
	openhr_msg.read_stats() TO pg_monitor;
GRANT SELECT ON openhr_msg.slot_status, openhr_msg.stats TO pg_monitor;
