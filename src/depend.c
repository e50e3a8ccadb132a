/*-------------------------------------------------------------------------
 *
 * depend.c
 *	  The extension depends on an object that is not its own.
 *
 * Where a database has its own auth.uid(), the install script does not make
 * one.  A dump must then create that function before the extension, or the
 * restored extension would make its own and the dump's would collide with
 * it; and pg_dump orders by dependencies.  No SQL command records that one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "fmgr.h"

PG_FUNCTION_INFO_V1(msg_depend_on);

/* The object's class (its catalog) and its oid. */
Datum
msg_depend_on(PG_FUNCTION_ARGS)
{
	ObjectAddress extension;
	ObjectAddress object;

	if (!creating_extension)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("depend_on() can only be called from an SQL script executed by CREATE EXTENSION"));

	ObjectAddressSet(extension, ExtensionRelationId, CurrentExtensionObject);
	ObjectAddressSet(object, PG_GETARG_OID(0), PG_GETARG_OID(1));
	recordDependencyOn(&extension, &object, DEPENDENCY_NORMAL);

	PG_RETURN_VOID();
}
