-- Which settings let the text of messages get into the server's log.
--
-- What src/log.c can keep out of it, it does.  The rest is what the server
-- writes before a statement reaches us, or because it was told to write every
-- statement.

CREATE FUNCTION openhr_msg.check_log_settings(
	OUT setting text,
	OUT value text,
	OUT "where" text,
	OUT level text,
	OUT problem text,
	OUT advice text)
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
ROWS 4
BEGIN ATOMIC
	WITH risks (setting, harmless, level, problem, advice) AS (VALUES
		('log_statement', '^(none|ddl)$', 'warning',
		 'every statement is logged before it runs',
		 'set it to none or ddl'),
		('log_min_duration_statement', '^-1', 'warning',
		 'statements are logged with how long they took',
		 'set it to -1; pg_stat_statements counts times without text'),
		('log_min_duration_sample', '^-1', 'warning',
		 'some statements are logged with how long they took',
		 'set it to -1'),
		('log_transaction_sample_rate', '^0+(\.0*)?$', 'warning',
		 'the statements of some transactions are logged',
		 'set it to 0'),
		('log_parameter_max_length', '^0', 'warning',
		 'statements that are logged show their parameters',
		 'set it to 0'),
		('log_parameter_max_length_on_error', '^0', 'warning',
		 'statements that fail show their parameters',
		 'set it to 0'),
		('log_min_messages', '^(?!debug)', 'warning',
		 'the server logs what it does with each statement',
		 'set it to warning'),
		('log_parser_stats', '^(off|false|no|0)$', 'warning',
		 'every statement is logged with what it cost',
		 'set it to off'),
		('log_planner_stats', '^(off|false|no|0)$', 'warning',
		 'every statement is logged with what it cost',
		 'set it to off'),
		('log_executor_stats', '^(off|false|no|0)$', 'warning',
		 'every statement is logged with what it cost',
		 'set it to off'),
		('log_statement_stats', '^(off|false|no|0)$', 'warning',
		 'every statement is logged with what it cost',
		 'set it to off'),
		('debug_print_raw_parse', '^(off|false|no|0)$', 'warning',
		 'every statement is logged in its parsed form',
		 'set it to off'),
		('debug_print_parse', '^(off|false|no|0)$', 'warning',
		 'every statement is logged in its parsed form',
		 'set it to off'),
		('debug_print_rewritten', '^(off|false|no|0)$', 'warning',
		 'every statement is logged in its rewritten form',
		 'set it to off'),
		('debug_print_plan', '^(off|false|no|0)$', 'warning',
		 'every statement is logged with its plan',
		 'set it to off'),
		('auto_explain.log_min_duration', '^-1', 'warning',
		 'statements are logged with their plans',
		 'set it to -1'),
		('auto_explain.log_parameter_max_length', '^0', 'warning',
		 'plans that are logged show parameters',
		 'set it to 0'),
		('pgaudit.log', '^(none)?$', 'warning',
		 'statements are logged for auditors',
		 'set it to none, or for the objects that need it'),
		('log_min_error_statement', '^(fatal|panic)$', 'notice',
		 'a statement that fails or waits before it reaches openhr_msg, such as one with a syntax error, is logged with the strings in it',
		 'send text as parameters; or set it to fatal'),
		('pg_stat_statements.track_utility', '^(off|false|no|0)$', 'notice',
		 'the strings in commands such as DO and DECLARE CURSOR are kept',
		 'send text as parameters; or set it to off')
	), settings (setting, value, "where") AS (
		SELECT name, s.setting, 'this session'
		FROM pg_settings s
		UNION ALL
		SELECT lower(split_part(entry, '=', 1)),
			   lower(substr(entry, strpos(entry, '=') + 1)),
			   concat_ws(', ',
						 CASE WHEN setrole <> 0
						 THEN format('role %I', pg_get_userbyid(setrole)) END,
						 'database ' || quote_ident(datname))
		FROM pg_db_role_setting
		LEFT JOIN pg_database d ON d.oid = setdatabase,
			 unnest(setconfig) AS entry
		WHERE setdatabase = 0 OR datname = current_database()
	), found AS (
		SELECT s.setting, s.value, s."where", r.level, r.problem, r.advice
		FROM risks r JOIN settings s USING (setting)
		WHERE s.value !~ r.harmless
	)
	SELECT f.setting, f.value, f."where", f.level, f.problem, f.advice
	FROM found f
	WHERE f.setting !~ 'log_parameter_max_length$'
	OR EXISTS (SELECT FROM found WHERE found.setting
			   ~ '^(log_statement|log_min_duration_|log_transaction_|auto_explain.log_min|pgaudit)')
	ORDER BY f.level DESC, f.setting, f."where";
END;

COMMENT ON FUNCTION openhr_msg.check_log_settings() IS
'settings with which the text of messages gets into the server''s log: warnings always, notices in some cases; as this session has them, and as roles get them in this database';

REVOKE ALL ON FUNCTION openhr_msg.check_log_settings() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION openhr_msg.check_log_settings() TO pg_monitor;
