-- The months of messages; see partitions.c.

CREATE FUNCTION openhr_msg.create_partitions(
	months_ahead integer DEFAULT 2,
	even_if_empty boolean DEFAULT false)
RETURNS integer
AS 'MODULE_PATHNAME', 'msg_create_partitions'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '200ms'
SET session_replication_role = replica
SET default_tablespace = ''
SET default_table_access_method = heap;

COMMENT ON FUNCTION openhr_msg.create_partitions(integer, boolean) IS
'makes the partitions of this month, the next ones, and of rows in the default partition, which it moves; none while there are no messages, unless even_if_empty; returns how many it made';

REVOKE ALL ON FUNCTION openhr_msg.create_partitions(integer, boolean)
	FROM PUBLIC;

-- Whoever ALTER DEFAULT PRIVILEGES means to see every table, sees none of
-- these until the extension grants it.

CREATE FUNCTION openhr_msg.revoke_grants(relation regclass)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	grantee text;
BEGIN
	FOR grantee IN
		SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC'
						ELSE acl.grantee::regrole::text END
		FROM pg_class, aclexplode(relacl) AS acl
		WHERE pg_class.oid = relation AND acl.grantee <> relowner
	LOOP
		EXECUTE format('REVOKE ALL ON %s FROM %s', relation, grantee);
	END LOOP;
END
$$;

COMMENT ON FUNCTION openhr_msg.revoke_grants(regclass) IS
'takes away what default privileges granted on a table';

REVOKE ALL ON FUNCTION openhr_msg.revoke_grants(regclass) FROM PUBLIC;

-- All tables made so far.
SELECT openhr_msg.revoke_grants(objid::regclass)
FROM pg_catalog.pg_depend
WHERE classid = 'pg_catalog.pg_class'::regclass
AND refclassid = 'pg_catalog.pg_extension'::regclass
AND refobjid = (SELECT oid FROM pg_catalog.pg_extension
				WHERE extname = 'openhr_msg')
AND deptype = 'e'
AND (SELECT relkind FROM pg_catalog.pg_class WHERE oid = objid) IN ('r', 'p');
