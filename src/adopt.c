/*-------------------------------------------------------------------------
 *
 * adopt.c
 *	  What ties profiles and matches to the conversations.
 *
 * Both tables are the database's own: either they were there before, or they
 * are made for it by the install script and left to it, so that their owner
 * may add columns, policies and foreign keys to them and finds all of it in a
 * dump (a dump holds no definition of an extension's table).  Then three
 * things must hold that plain SQL cannot say.
 *
 * A dump has to create such a table before the extension, which would
 * otherwise make one, and the dump's would collide with it.  pg_dump orders
 * by dependencies, so the extension is given one on the table.
 *
 * The trigger that follows a deletion is made by CREATE EXTENSION, and so in
 * a restore as well; a dump must not create it once more.  It is therefore
 * marked internal, as those of a foreign key are, whose part it plays:
 * pg_dump passes internal triggers over.
 *
 * And DROP EXTENSION takes the trigger along, without CASCADE, which is what
 * ALTER TRIGGER ... DEPENDS ON EXTENSION says of triggers that can be named.
 *
 * pg_upgrade neither runs the install script nor keeps this dependency nor the
 * internal triggers, so all of it may be done again at any time.  Where the
 * trigger is, so is the rest, and nothing is locked that anybody would notice.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/rel.h"

#include "openhr_msg.h"

static void depend_on_table(const ObjectAddress *extension, Oid table);
static bool has_trigger(Oid table, Oid function, LOCKMODE lock);
static ObjectAddress create_trigger(Oid table, Oid function);

PG_FUNCTION_INFO_V1(msg_adopt);

/* The table, and the function that follows each deletion of a row. */
Datum
msg_adopt(PG_FUNCTION_ARGS)
{
	Oid			table = PG_GETARG_OID(0);
	Oid			function = PG_GETARG_OID(1);
	ObjectAddress extension;
	ObjectAddress trigger;

	if (has_trigger(table, function, AccessShareLock) ||
		has_trigger(table, function, ShareRowExclusiveLock))
		PG_RETURN_VOID();

	ObjectAddressSet(extension, ExtensionRelationId,
					 get_extension_oid(MSG_EXTENSION, false));
	depend_on_table(&extension, table);
	trigger = create_trigger(table, function);
	recordDependencyOn(&trigger, &extension, DEPENDENCY_AUTO_EXTENSION);

	PG_RETURN_VOID();
}

/* The extension needs the table, and does not own it. */
static void
depend_on_table(const ObjectAddress *extension, Oid table)
{
	ObjectAddress object;

	ObjectAddressSet(object, RelationRelationId, table);
	recordDependencyOn(extension, &object, DEPENDENCY_NORMAL);
}

static bool
has_trigger(Oid table, Oid function, LOCKMODE lock)
{
	Relation	rel = table_open(table, lock);
	TriggerDesc *desc = rel->trigdesc;
	bool		found = false;

	for (int i = 0; desc != NULL && i < desc->numtriggers; i++)
		if (desc->triggers[i].tgfoid == function)
			found = true;

	table_close(rel, NoLock);
	return found;
}

static ObjectAddress
create_trigger(Oid table, Oid function)
{
	CreateTrigStmt *stmt = makeNode(CreateTrigStmt);

	stmt->trigname = "openhr_msg_deleted";	/* its oid is appended */
	stmt->row = true;
	stmt->timing = TRIGGER_TYPE_AFTER;
	stmt->events = TRIGGER_TYPE_DELETE;

	return CreateTrigger(stmt, NULL, table, InvalidOid, InvalidOid, InvalidOid,
						 function, InvalidOid, NULL, true, false);
}
