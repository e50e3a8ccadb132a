-- What holds for every object of the extension, also those to come.  Each
-- query finds what is wrong, and finds nothing.
--
-- The database is one in which default privileges give away everything, and
-- others have made functions in the extension's schema.
\set ECHO none
\set home :DBNAME
SET client_min_messages = error;
CREATE DATABASE regress_hygiene TEMPLATE template0;
\c regress_hygiene
SET client_min_messages = error;
CREATE ROLE regress_mallory;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, regress_mallory;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC, regress_mallory;
GRANT CREATE ON SCHEMA public TO regress_mallory;
SET ROLE regress_mallory;
CREATE FUNCTION public.format(text, text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked by %', current_user; END $$;
CREATE FUNCTION public.unnest(regclass[]) RETURNS SETOF regclass LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked by %', current_user; END $$;
CREATE FUNCTION public.unnest(uuid[]) RETURNS SETOF uuid LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked by %', current_user; END $$;
RESET ROLE;
CREATE EXTENSION openhr_msg;
DROP FUNCTION public.format(text, text, text), public.unnest(regclass[]), public.unnest(uuid[]);
INSERT INTO profiles (id) VALUES (gen_random_uuid());
SELECT openhr_msg.create_partitions(1, true) > 0 AS made \gset

CREATE VIEW members AS
SELECT classid, objid, 0 AS objsubid FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'openhr_msg');

-- Tables and the like, with the months, which are no members.
CREATE VIEW relations AS
SELECT c.* FROM pg_class c WHERE c.oid IN
	(SELECT objid FROM members WHERE classid = 'pg_class'::regclass
	 UNION ALL
	 SELECT inhrelid FROM pg_inherits WHERE inhparent = 'messages'::regclass);
CREATE VIEW functions AS
SELECT p.* FROM pg_proc p JOIN members m
ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;
\pset format unaligned
\pset tuples_only on
\set ECHO all

-- There is something to look at.
SELECT (SELECT count(*) FROM relations WHERE relkind IN ('r', 'p')) > 8,
	(SELECT count(*) FROM functions) > 30, :'made';

-- Objects without a comment; a row type, an array and an index have none.
SELECT pg_describe_object(classid, objid, objsubid) FROM
	(SELECT classid, objid, objsubid FROM members
	 WHERE NOT (classid = 'pg_type'::regclass
				AND EXISTS (SELECT FROM pg_type WHERE oid = objid
							AND (typrelid <> 0 AND typrelid IN (SELECT oid FROM pg_class WHERE relkind <> 'c')
								 OR typcategory = 'A')))
	 UNION ALL
	 SELECT 'pg_class'::regclass, oid, 0 FROM relations WHERE relkind <> 'c'
	 UNION ALL
	 SELECT 'pg_trigger'::regclass, t.oid, 0 FROM pg_trigger t JOIN relations r ON r.oid = tgrelid
	 WHERE NOT tgisinternal AND tgparentid = 0
	 UNION ALL
	 SELECT 'pg_policy'::regclass, p.oid, 0 FROM pg_policy p JOIN relations r ON r.oid = polrelid
	 UNION ALL
	 SELECT 'pg_class'::regclass, attrelid, attnum FROM pg_attribute a JOIN relations r ON r.oid = attrelid
	 WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p') AND relname <> 'messages_default'
	) AS objects
WHERE NOT EXISTS (SELECT FROM pg_description d
	WHERE d.classoid = objects.classid AND d.objoid = objid AND d.objsubid = objects.objsubid)
ORDER BY 1;

-- Tables without forced row level security.  Profiles and matches are the
-- database's own, once they are made.
SELECT oid::regclass FROM relations
WHERE relkind IN ('r', 'p') AND NOT (relrowsecurity AND relforcerowsecurity)
AND NOT (relrowsecurity AND relname IN ('profiles', 'matches'))
ORDER BY 1;

-- Grants on tables, views and columns, to anybody but the owner.
SELECT relation, role, string_agg(privilege, ', ' ORDER BY privilege COLLATE "C") FROM
	(SELECT oid::regclass::text AS relation, acl.grantee, acl.privilege_type AS privilege
	 FROM relations, aclexplode(relacl) AS acl WHERE acl.grantee <> relowner
	 UNION ALL
	 SELECT attrelid::regclass::text, acl.grantee, format('%s (%s)', acl.privilege_type, attname)
	 FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid, aclexplode(attacl) AS acl) AS grants,
	LATERAL (SELECT CASE grants.grantee WHEN 0 THEN 'PUBLIC' ELSE grants.grantee::regrole::text END) AS roles (role)
GROUP BY relation, role ORDER BY relation, role;

-- Who may call which function; the rest is the owner's.
SELECT role, string_agg(proname, ' ' ORDER BY proname COLLATE "C")
FROM functions, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS acl,
	LATERAL (SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END) AS roles (role)
WHERE acl.grantee <> proowner
GROUP BY role ORDER BY role;

-- Functions that run as their owner, or that look at objects by their names,
-- and do not say where: by a path that ends in pg_temp.
SELECT oid::regprocedure FROM functions
WHERE (prosecdef OR prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c'))
AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting
				WHERE setting ~ '^search_path=(pg_catalog|pg_catalog, .*, pg_temp|pg_catalog, pg_temp)$')
ORDER BY 1;
-- C functions of which src/ says that they need none.
SELECT string_agg(proname, ' ' ORDER BY proname COLLATE "C") FROM functions
WHERE NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting ~ '^search_path=');
-- Functions that a planner or an index could misuse.
SELECT oid::regprocedure FROM functions WHERE proleakproof;
SELECT oid::regprocedure, proparallel FROM functions
WHERE provolatile = 'v' AND proparallel = 's' AND proname <> 'uuid_v7';

-- The schemas are the owner's.
SELECT nspname, grantee::regrole, privilege_type
FROM pg_namespace, aclexplode(nspacl) AS acl
WHERE nspname = 'openhr_msg' AND grantee <> 0 AND grantee <> nspowner
OR nspname IN ('openhr_msg', 'auth') AND grantee = 0 AND privilege_type <> 'USAGE';

\set ECHO none
DROP OWNED BY regress_mallory;
DROP ROLE regress_mallory;
\c :home
DROP DATABASE regress_hygiene;
